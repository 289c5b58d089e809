"""Count the requests that carry work, which are those with the method POST."""

from starlette.types import ASGIApp, Receive, Scope, Send


class RequestCount:
    """The number of requests since the start."""

    def __init__(self) -> None:
        self.count = 0


class CountsRequests:
    """ASGI middleware: counts each request whose method is POST, also one that is refused later."""

    def __init__(self, app: ASGIApp, *, requests: RequestCount) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and scope["method"] == "POST":
            self._requests.count += 1
        await self._app(scope, receive, send)
