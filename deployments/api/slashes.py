"""Each path answers with and without its trailing slash, without a redirect."""

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send


class EitherSlash:
    """ASGI middleware: a path that has no route, but whose other slash form does, is taken as that one."""

    def __init__(self, app: ASGIApp, *, paths: Collection[str]) -> None:
        self._app = app
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, under the path that has a route."""
        path = scope.get("path", "")
        other = other_form(path)
        if path not in self._paths and other in self._paths:
            scope = {**scope, "path": other, "raw_path": other.encode()}
        await self._app(scope, receive, send)


def other_form(path: str) -> str:
    """The path without its trailing slash, or with one where it has none."""
    return path.removesuffix("/") if path.endswith("/") else f"{path}/"
