"""The short way to the routes that take one JSON body: what FastAPI does for each request is done once, at the start.

At 64 callers, routing, dependencies and nested exception handlers were a third of the ingress's time. A request that
is plainly in order goes straight to its route's own function; any other goes the long way, which says what is wrong.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.api.problems import munjang_error
from deployments.api.services import Services
from deployments.api.slashes import other_form
from pipelines.errors import MunjangError

JSON = {b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"}

Endpoint = Callable[[Any, Services, Response], Awaitable[BaseModel]]


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """A route's function and the model of its body."""

    endpoint: Endpoint
    body: type[BaseModel]


class Direct:
    """ASGI middleware: POST requests to `routes`, by path, whose body came whole, is JSON and valid."""

    def __init__(
        self, app: ASGIApp, *, routes: Mapping[str, DirectRoute], services: Services, max_body_bytes: int
    ) -> None:
        self._app = app
        self._routes = {form: route for path, route in routes.items() for form in (path, other_form(path))}
        self._services = services
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on as it came."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None or not _is_json(scope):
            await self._app(scope, receive, send)
            return
        first = await receive()
        body = self._valid_body(route, first)
        if body is None:
            await self._app(scope, _again(first, receive), send)
            return
        await (await self._answer(route, body, scope))(scope, receive, send)

    def _valid_body(self, route: DirectRoute, message: Message) -> BaseModel | None:
        content = message.get("body", b"")
        if message["type"] != "http.request" or message.get("more_body") or len(content) > self._max_body_bytes:
            return None
        try:
            return route.body.model_validate_json(content)
        except ValidationError:
            return None

    async def _answer(self, route: DirectRoute, body: BaseModel, scope: Scope) -> Response:
        response = Response(media_type="application/json")
        try:
            answer = await route.endpoint(body, self._services, response)
        except MunjangError as error:
            return await munjang_error(Request(scope), error)
        response.body = answer.__pydantic_serializer__.to_json(answer, by_alias=True)
        response.headers["content-length"] = str(len(response.body))
        return response


def _is_json(scope: Scope) -> bool:
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return kind.lower() in JSON


def _again(first: Message, receive: Receive) -> Receive:
    """`receive`, with a message that was taken already before all others."""
    taken = [first]

    async def replay() -> Message:
        return taken.pop() if taken else await receive()

    return replay
