"""The spans of this process.

A span is known by its `traceparent` (W3C Trace Context): a string that goes from process to process as an argument of
calls. Only sampled spans have one, so a request that is not traced costs one look at a variable in each stage. Without
`start_tracing` nothing is sampled, and OpenTelemetry is not imported.

Serve has traces of its own (`tracing_config`), but it draws lots again in each process, and knows nothing of batches.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

from deployments.tracing.settings import TracingSettings
from pipelines.errors import ConfigError, install_hint

if TYPE_CHECKING:
    from deployments.tracing.recorder import Recorder

Attribute: TypeAlias = str | int | float | bool

_recorder: "Recorder | None" = None
_current: ContextVar[str | None] = ContextVar("_current", default=None)


def start_tracing(settings: TracingSettings | None, deployment: str) -> None:
    """Have spans of this process sent, unless there are no settings. Raises ConfigError if a package is missing."""
    global _recorder
    if settings is None or _recorder is not None:
        return
    check_installed()
    from deployments.tracing.recorder import Recorder

    _recorder = Recorder.sending(settings, deployment)


def check_installed() -> None:
    """Raise ConfigError if the packages of the extra `tracing` are missing."""
    try:
        import opentelemetry.exporter.otlp.proto.http  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"tracing needs OpenTelemetry's OTLP exporter: {install_hint('tracing')}") from error


def recorder() -> "Recorder | None":
    """What records the spans of this process; None if nothing does."""
    return _recorder


def current() -> str | None:
    """The sampled span for which this task works; None if there is none."""
    return _current.get()


@contextmanager
def working_for(span: str | None) -> Iterator[None]:
    """Let the task work for a span."""
    before = _current.get()
    _current.set(span)
    try:
        yield
    finally:  # perhaps in another context, where a stream that is given up is closed; a token would not be valid there
        _current.set(before)


@contextmanager
def span_of(name: str, parents: Sequence[str], **attributes: Attribute) -> Iterator[None]:
    """Record a span around the work inside, which works for it. It is the child of the first of its parents, with links
    to the others. Without parents nothing is recorded.
    """
    if _recorder is None or not parents:
        yield
        return
    with _recorder.span(name, parents, attributes) as span, working_for(span):
        yield


def record(name: str, seconds: float, parents: Sequence[str], **attributes: Attribute) -> None:
    """Record a span that ends now and began `seconds` ago, as `span_of` would have."""
    if _recorder is not None and parents:
        _recorder.record(name, time.time_ns() - int(seconds * 1e9), parents, attributes)
