"""Makes spans with OpenTelemetry and sends them to a collector. Imported only where tracing is on."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Self

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, Span, SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.status import StatusCode

from deployments.tracing.settings import TracingSettings
from deployments.tracing.spans import Attribute

TRACEPARENT = "traceparent"
TRACES_PATH = "/v1/traces"
SERVICE = "munjang"

_propagator = TraceContextTextMapPropagator()


class Recorder:
    """Makes the spans of one process. Several threads may call it."""

    def __init__(self, sampling_ratio: float, processor: SpanProcessor, deployment: str = "") -> None:
        resource = {"service.name": SERVICE, "service.version": version("munjang"), "munjang.deployment": deployment}
        self._sampling_ratio = sampling_ratio
        provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create(resource))
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer(SERVICE)

    @classmethod
    def sending(cls, settings: TracingSettings, deployment: str) -> Self:
        """Send spans to the collector of the settings, in batches and in a thread of its own."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=settings.endpoint.rstrip("/") + TRACES_PATH)
        return cls(settings.sampling_ratio, BatchSpanProcessor(exporter), deployment)

    def begin_request(self, headers: Mapping[str, str], method: str, route: str) -> Span | None:
        """The span of an HTTP request, a child of the caller's if the headers name one; None if it is not sampled.

        The caller's span decides, and without one the sampling ratio.
        """
        named = headers.get(TRACEPARENT)
        parent = _context(named) if named else Context()
        caller = get_current_span(parent).get_span_context()
        if not (caller.trace_flags.sampled if caller.is_valid else random.random() < self._sampling_ratio):
            return None
        attributes = {"http.request.method": method, "http.route": route}
        return self._tracer.start_span(f"{method} {route}", parent, SpanKind.SERVER, attributes)

    @contextmanager
    def span(self, name: str, parents: Sequence[str], attributes: Mapping[str, Attribute]) -> Iterator[str]:
        """Record a span around the work inside; see `spans.span_of`."""
        first, links = _parents(parents)
        span = self._tracer.start_span(name, first, attributes=attributes, links=links)
        try:
            yield traceparent(span)
        except BaseException as error:
            fail(span, type(error).__name__)
            raise
        finally:
            span.end()

    def record(self, name: str, begun_ns: int, parents: Sequence[str], attributes: Mapping[str, Attribute]) -> None:
        """Record a span from `begun_ns`, in nanoseconds since 1970, until now."""
        first, links = _parents(parents)
        self._tracer.start_span(name, first, attributes=attributes, links=links, start_time=begun_ns).end()


def traceparent(span: Span) -> str:
    """The name of a sampled span for other processes."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def fail(span: Span, error: str) -> None:
    """Mark a span as failed, with the type of the error. The error's message may contain a caller's text."""
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def _parents(parents: Sequence[str]) -> tuple[Context, list[Link]]:
    """The context of the first parent, and links to the others."""
    first, *others = map(_context, parents)
    return first, [Link(get_current_span(other).get_span_context()) for other in others]


def _context(parent: str) -> Context:
    """The context of a span; none if the string names none. A caller's `tracestate` is dropped: it may be any text."""
    return _propagator.extract({TRACEPARENT: parent}, context=Context())
