"""The metrics of HTTP requests in a replica of the ingress."""

import re
from collections.abc import Iterable
from time import perf_counter

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.metrics.registry import REGISTRY, SECONDS

REQUESTS = Counter("munjang_requests", "Requests, by route and status.", ("route", "status"), registry=REGISTRY)
DURATION = Histogram(
    "munjang_request_duration_seconds",
    "Time from the headers of a request to the end of its answer.",
    ("route",),
    registry=REGISTRY,
    buckets=SECONDS,
)
REFUSALS = Counter(
    "munjang_refusals", "Requests that got an error, by its type.", ("route", "reason"), registry=REGISTRY
)

ROUTE = "munjang.route"
"""The key of the ASGI scope with the route of a request."""
OTHER = "other"
"""The route of all paths that have none: a caller can invent any number of them."""
CLIENT_GONE = 499  # Serve's status of a request whose client has closed the connection

ALERTED = ("overloaded", "deadline_exceeded")
"""Reasons for which every route has a count from the start: Prometheus does not see the first increase of a new one."""

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Requests:
    """ASGI middleware: counts and times requests by their route, one of `paths` without the trailing slash."""

    def __init__(self, app: ASGIApp, *, paths: Iterable[str]) -> None:
        self._app = app
        self._routes = {path: _without_slash(path) for path in paths}
        for route in self._routes.values():
            for reason in ALERTED:
                REFUSALS.labels(route, reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        route = self._routes.get(path, OTHER)
        status = CLIENT_GONE
        started_s = perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app({**scope, ROUTE: route}, receive, noting)
        finally:
            DURATION.labels(route).observe(perf_counter() - started_s)
            REQUESTS.labels(route, str(status)).inc()


def _without_slash(path: str) -> str:
    return path.rstrip("/") or "/"


def refused(scope: Scope, reason: str) -> None:
    """Count a request that gets an error, by the words of `reason` in snake case."""
    REFUSALS.labels(scope.get(ROUTE, OTHER), _WORDS.sub("_", reason).lower()).inc()
