"""A collector of traces on loopback, which takes OTLP over HTTP (protobuf) and keeps the spans."""

import gzip
import importlib.util
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SEEN_S = 60.0


def has_exporter() -> bool:
    """Whether the extra `tracing` is installed."""
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


@dataclass(frozen=True)
class Span:
    """A span as it arrived; its ids and those of its parent and its links in hexadecimal digits."""

    name: str
    deployment: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    attributes: dict[str, str | int]


@dataclass
class Collector:
    """Keeps what arrives."""

    url: str
    spans: list[Span] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {one.key: one.value.string_value for one in resource.resource.attributes}
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                attributes = {one.key: one.value.int_value or one.value.string_value for one in span.attributes}
                ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                links = tuple(link.span_id.hex() for link in span.links)
                self.spans.append(Span(span.name, about["munjang.deployment"], *ids, links, attributes))

    def trace(self, trace: str, names: set[str]) -> list[Span]:
        """The spans of a trace, as soon as those with these names have arrived."""
        until_s = time.monotonic() + SEEN_S
        while True:
            found = [span for span in self.spans if span.trace == trace]
            if names <= {span.name for span in found}:
                return found
            assert time.monotonic() < until_s, f"only {sorted(span.name for span in found)}"
            time.sleep(0.1)


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            collector.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield collector
        server.shutdown()
