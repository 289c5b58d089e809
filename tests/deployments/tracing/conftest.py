"""Records the spans of this process in memory."""

from dataclasses import dataclass

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deployments.tracing import spans
from deployments.tracing.recorder import Recorder


@dataclass
class Recorded:
    """The spans that have ended."""

    exporter: InMemorySpanExporter

    def all(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """All requests of this test are traced unless their callers say otherwise."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(spans, "_recorder", Recorder(1.0, SimpleSpanProcessor(exporter)))
    return Recorded(exporter)


def traceparent(number: int, *, sampled: bool = True) -> str:
    """A span of a caller, in a trace of its own."""
    return f"00-{number:032x}-{number:016x}-{int(sampled):02x}"


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def links_of(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]
