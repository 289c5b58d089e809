"""Who may use which route, where keys are configured. A route that is not listed here needs the scope `admin`."""

from http import HTTPStatus

from fastapi import Request
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from deployments.api.problems import problem_response
from deployments.api.quota import Quota
from deployments.api.slashes import other_form
from deployments.keys import Key, Scope
from deployments.metrics.requests import refused
from deployments.valid_keys import ValidKeys

ROUTE_SCOPES: dict[str, Scope] = {
    "/pred/sentences/": "infer",
    "/generate": "infer",
    "/api": "infer",
    "/v1/similarity": "infer",
    "/v1/acceptability": "infer",
    "/v1/answers": "infer",
    "/v1/embeddings": "infer",
    "/v1/models": "infer",
    "/embed": "infer",
    "/similarity": "infer",
    "/predict": "infer",
    "/rerank": "infer",
    "/tokenize": "infer",
    "/decode": "infer",
    "/v1/score": "infer",
    "/score": "infer",
    "/v1/rerank": "infer",
    "/v2/rerank": "infer",
    "/classify": "infer",
    "/pred/file/": "upload",
    "/pred/multi/": "upload",
    "/pred/file/multi/": "upload",
    "/chat/": "chat",
    "/v1/chat": "chat",
    "/v1/files": "upload",
    "/v1/batches": "upload",
    "/info": "admin",
    "/readyz": "admin",
    "/v1/graph": "admin",
    "/docs": "admin",
    "/openapi.json": "admin",
}
FOLDER_SCOPES: dict[str, Scope] = {
    "/v1/models/": "infer",
    "/models/": "infer",
    "/v1/files/": "upload",
    "/v1/batches/": "upload",
}
"""Paths that begin so end with a name."""
KEY = "munjang.key"
"""The name in the ASGI scope of the key with which a request was admitted."""
PUBLIC = {"/", "/healthz", "/health", "/ping"}
PUBLIC_FOLDER = "/static/"  # the files of the page, whose first one is at "/"
REALM = 'Bearer realm="munjang"'

_SCOPE_OF_FORM = {form: scope for path, scope in ROUTE_SCOPES.items() for form in (path, other_form(path))}
_PUBLIC_FORMS = {form for path in PUBLIC for form in (path, other_form(path))}


def is_public(path: str, method: str = "GET") -> bool:
    """Whether a request needs no key. A POST to "/" embeds texts."""
    return (path in _PUBLIC_FORMS and not (path == "/" and method == "POST")) or path.startswith(PUBLIC_FOLDER)


def scope_of(path: str) -> Scope:
    """The scope that a path needs, with or without its trailing slash."""
    if path == "/":  # a POST, which embeds texts
        return "infer"
    if path in _SCOPE_OF_FORM:
        return _SCOPE_OF_FORM[path]
    return next((scope for folder, scope in FOLDER_SCOPES.items() if path.startswith(folder)), "admin")


def key_of(request: Request) -> Key | None:
    """The key with which a request was admitted; None where no keys are configured."""
    key: Key | None = request.scope.get(KEY)
    return key


class Access:
    """ASGI middleware: passes on only requests with a key whose scope and quota admit them."""

    def __init__(self, app: ASGIApp, *, keys: ValidKeys) -> None:
        self._app = app
        self._keys = keys
        self._quotas: dict[Key, Quota] = {}

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it before its body is read."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and is_public(scope["path"], scope["method"])):
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no route is a WebSocket; one that is added must be admitted here first
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope)
        secret = secret_of(request.headers)
        key = self._keys.find(secret) if secret else None
        if key is None:
            await _unauthorized(request, given=bool(secret))(scope, receive, send)
        elif scope_of(scope["path"]) not in key.scopes:
            await _forbidden(request)(scope, receive, send)
        else:
            await self._within_quota(key, request, receive, send)

    async def _within_quota(self, key: Key, request: Request, receive: Receive, send: Send) -> None:
        quota = self._quotas.setdefault(key, Quota(key))
        exhausted = quota.exhausted()
        if exhausted:
            refused(request.scope, "QuotaExhausted")
            why = f"this key has used its {exhausted.limit:,} {exhausted.unit} of this minute"
            headers = {"Retry-After": str(quota.retry_after_s(exhausted))} | quota.headers()
            await problem_response(request, HTTPStatus.TOO_MANY_REQUESTS, why, headers=headers)(
                request.scope, receive, send
            )
            return
        quota.use(requests=1)
        await self._app({**request.scope, KEY: key}, quota.counting(receive), quota.reporting(send))


def secret_of(headers: Headers) -> bytes:
    """The secret after `Authorization: Bearer`, after `X-API-Key:`, or after `Authorization:` alone, as LlamaIndex's
    ranker sends it; empty if there is none."""
    scheme, space, credentials = headers.get("authorization", "").partition(" ")
    alone = "" if space or scheme.lower() == "bearer" else scheme
    secret = credentials.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", alone)
    return secret.encode("latin-1")  # as they came


def _unauthorized(request: Request, *, given: bool) -> Response:
    """RFC 6750, section 3: a challenge, which names an error only if there was a key."""
    refused(request.scope, "Unauthorized")
    why = "the API key is not valid" if given else "an API key is needed, as `Authorization: Bearer` or `X-API-Key`"
    challenge = f'{REALM}, error="invalid_token"' if given else REALM
    return problem_response(request, HTTPStatus.UNAUTHORIZED, why, headers={"WWW-Authenticate": challenge})


def _forbidden(request: Request) -> Response:
    refused(request.scope, "Forbidden")
    needed = scope_of(request.scope["path"])
    challenge = f'{REALM}, error="insufficient_scope", scope="{needed}"'
    why = f"the API key lacks the scope {needed}"
    return problem_response(request, HTTPStatus.FORBIDDEN, why, headers={"WWW-Authenticate": challenge})
