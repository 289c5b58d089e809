"""The span of an HTTP request in the ingress."""

from http import HTTPMethod, HTTPStatus

from opentelemetry.trace import Span
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.metrics.requests import OTHER, ROUTE
from deployments.tracing.recorder import Recorder, fail, traceparent
from deployments.tracing.spans import working_for

METHODS = frozenset(HTTPMethod)
OTHER_METHOD = "HTTP"  # OpenTelemetry's name for methods that callers invent
REQUEST_ID = "x-request-id"


class Traced:
    """ASGI middleware inside `Requests`: records the span of a request, for which the routes work."""

    def __init__(self, app: ASGIApp, *, recorder: Recorder) -> None:
        self._app = app
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        span = self._recorder.begin_request(headers, method, scope.get(ROUTE, OTHER))
        if span is None:
            await self._app(scope, receive, send)
            return
        try:
            with working_for(traceparent(span)):
                await self._app(scope, receive, _noting(span, send))
        except BaseException as error:
            fail(span, type(error).__name__)
            raise
        finally:
            span.set_attribute("munjang.request_id", headers.get(REQUEST_ID, ""))
            span.end()


def _noting(span: Span, send: Send) -> Send:
    """Wrap `send`: the span gets the status of the answer."""

    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            span.set_attribute("http.response.status_code", status)
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                fail(span, str(status))
        await send(message)

    return noting
