"""Read and check the bodies of requests before any route sees them.

A body is refused by its headers alone where they suffice, and its bytes count against a budget from their arrival until
the answer.
"""

from collections.abc import Collection, Mapping
from contextlib import ExitStack

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.api.body_reader import BodyLimits, read_body, replaying
from deployments.api.byte_budget import ByteBudget
from deployments.api.connections import MAX_IGNORED_BYTES, has_large_body
from deployments.api.deadlines import Deadline
from deployments.api.media_types import Kind, refuse_other_media
from deployments.api.problems import munjang_error
from deployments.api.slashes import other_form
from deployments.settings import IngressSettings
from pipelines.errors import MunjangError, TooLarge
from pipelines.text.strict_json import read_json

PARSED = "munjang.json"
"""The key of the ASGI scope with the parsed body of a JSON route."""


class Bodies:
    """ASGI middleware: reads the whole body of POST requests to `kinds` (by path), and refuses what is no such body.

    `folders` has the kinds of paths that begin so.

    Routes at the paths `streamed` read and limit their bodies themselves. Requests to other paths may have a short
    body, which nobody reads.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        kinds: Mapping[str, Kind],
        settings: IngressSettings,
        folders: Mapping[str, Kind] | None = None,
        streamed: Collection[str] = (),
    ) -> None:
        self._app = app
        self._streamed = {form for path in streamed for form in (path, other_form(path))}
        self._kinds = {form: kind for path, kind in kinds.items() for form in (path, other_form(path))}
        self._folders = dict(folders or {})
        self._limits = {
            kind: BodyLimits(most, settings.body_pause_s, settings.min_body_bytes_per_s)
            for kind, most in ((Kind.JSON, settings.max_body_bytes), (Kind.UPLOAD, settings.max_upload_bytes))
        }
        self._deadlines_s = {Kind.JSON: settings.deadline_s, Kind.UPLOAD: settings.upload_deadline_s}
        self._budgets = {
            Kind.JSON: ByteBudget(settings.json_budget_bytes, settings.max_requests),
            Kind.UPLOAD: ByteBudget(settings.upload_budget_bytes, settings.max_requests),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or refuse it."""
        kind = self._kind(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._streamed:
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and kind is None and has_large_body(Headers(scope=scope)):
            await _refuse(TooLarge("the body", MAX_IGNORED_BYTES, "bytes on this path"), scope, receive, send)
        elif kind is None:
            await self._app(scope, receive, send)
        else:
            await self._pass_with_body(kind, scope, receive, send)

    def _kind(self, path: str) -> Kind | None:
        named = self._kinds.get(path)
        return named or next((kind for folder, kind in self._folders.items() if path.startswith(folder)), None)

    async def _pass_with_body(self, kind: Kind, scope: Scope, receive: Receive, send: Send) -> None:
        with ExitStack() as held:
            try:
                self._refuse_by_headers(Headers(scope=scope), kind)
                reservation = held.enter_context(self._budgets[kind].reserve())
                until = Deadline(self._deadlines_s[kind])
                body = [await read_body(receive, self._limits[kind], reservation, until)]
                parsed = {PARSED: read_json(body[0])} if kind is Kind.JSON else {}
                held.enter_context(self._budgets[kind].work())
            except MunjangError as error:
                await _refuse(error, scope, receive, send)
                return
            await self._app({**scope, **parsed}, replaying(body.pop(), receive), send)

    def _refuse_by_headers(self, headers: Headers, kind: Kind) -> None:
        """Raise UnsupportedMedia, TooLarge or Overloaded if the headers announce a body that can't be read."""
        refuse_other_media(headers, kind)
        declared = headers.get("content-length", "0")
        length = int(declared) if declared.isdecimal() else 0
        most = self._limits[kind].max_bytes
        if length > most:
            raise TooLarge("the body", most, "bytes")
        self._budgets[kind].refuse(length)


async def _refuse(error: MunjangError, scope: Scope, receive: Receive, send: Send) -> None:
    await (await munjang_error(Request(scope), error))(scope, receive, send)
