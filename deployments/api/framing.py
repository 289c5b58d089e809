"""Refuse to be framed: no other site may show a page of this server inside its own."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.api.service import PAGE_POLICY


class NoFraming:
    """ASGI middleware: gives every HTML answer a policy that forbids frames, and X-Frame-Options for old browsers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def send_unframed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers.setdefault("Content-Security-Policy", PAGE_POLICY)
                    headers["X-Frame-Options"] = "DENY"
            await send(message)

        await self._app(scope, receive, send_unframed)
