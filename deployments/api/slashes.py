"""Serve each path with and without its trailing slash, without a redirect."""

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send


class EitherSlash:
    """ASGI middleware: if a path has no route, add or remove its trailing slash where that path has one."""

    def __init__(self, app: ASGIApp, *, paths: Collection[str]) -> None:
        self._app = app
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the path that has a route."""
        path = scope.get("path", "")
        other = other_form(path)
        if path not in self._paths and other in self._paths:
            scope = {**scope, "path": other, "raw_path": other.encode()}
        await self._app(scope, receive, send)


def other_form(path: str) -> str:
    """The path without its trailing slash, or with a trailing slash if it has none."""
    return path.removesuffix("/") if path.endswith("/") else f"{path}/"
