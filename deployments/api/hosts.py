"""Which names a request may call this server by, in its header `Host`.

A page of another site can make its own name lead to 127.0.0.1 (DNS rebinding). A browser on this machine then lets it
talk to a server that answers everyone here. The header still has the name of the page. `ingress.access.hosts` turns the
check on.
"""

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.api.problems import problem_response
from deployments.exposure import is_loopback

WITHOUT_CHECK = "/healthz"  # probes name the server by its address
REFUSAL = (
    "the header Host has no name of this server, which answers to localhost, to addresses of loopback and to the names "
    "in ingress.access.hosts of its configuration"
)


class Hosts:
    """ASGI middleware: refuses requests to other names than those of loopback and `hosts` with 421.

    A request without `Host` passes, because no browser sends one.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}
        self._is_answered = lru_cache(maxsize=256)(self._has_answered_name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it before its body is read."""
        if scope["type"] != "http" or scope["path"] == WITHOUT_CHECK or self._all_answered(scope):
            await self._app(scope, receive, send)
            return
        await problem_response(Request(scope), HTTPStatus.MISDIRECTED_REQUEST, REFUSAL)(scope, receive, send)

    def _all_answered(self, scope: Scope) -> bool:
        return all(self._is_answered(value) for name, value in scope["headers"] if name == b"host")

    def _has_answered_name(self, value: bytes) -> bool:
        name = name_of(value)
        return is_loopback(name) or name in self._hosts


def name_of(host: bytes) -> str:
    """The name or address in a value of `Host`, in lower case, without port, brackets and the root's dot."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):  # an IPv6 address
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")
