import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from starlette.testclient import TestClient

from deployments.api.app import make_api
from deployments.tracing.recorder import Recorder
from pipelines.errors import EngineError
from tests.deployments.api.conftest import URL, ScriptedServices, services
from tests.deployments.tracing.conftest import Recorded, parent_of, traceparent

__all__ = ["services"]

CANARY = "canary5f3a"
PAIR = {"sentence_1": f"{CANARY} 하나", "sentence_2": "둘"}


@pytest.fixture
def client(recorded: Recorded, services: ScriptedServices) -> TestClient:
    return TestClient(make_api(services), URL, raise_server_exceptions=False)


def test_a_request_has_a_span_with_its_route_status_and_id(client: TestClient, recorded: Recorded) -> None:
    client.post("/pred/sentences/", json=PAIR, headers={"X-Request-ID": "an-id"})
    (span,) = recorded.all()
    assert (span.name, span.kind, span.parent) == ("POST /pred/sentences", SpanKind.SERVER, None)
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/pred/sentences",
        "http.response.status_code": 200,
        "munjang.request_id": "an-id",
    }


def test_the_span_of_the_caller_is_the_parent_and_decides(client: TestClient, recorded: Recorded) -> None:
    client.post("/pred/sentences/", json=PAIR, headers={"traceparent": traceparent(5)})
    client.post("/pred/sentences/", json=PAIR, headers={"traceparent": traceparent(6, sampled=False)})
    (span,) = recorded.all()
    assert parent_of(span) == 5


@pytest.mark.parametrize("header", ["", "00-zz", f"00-{'0' * 32}-{'0' * 16}-01", "ÿ"])
def test_an_invalid_traceparent_is_ignored(client: TestClient, recorded: Recorded, header: str) -> None:
    answer = client.post("/generate", json={"passage": "a"}, headers={"traceparent": header.encode("latin-1")})
    assert answer.status_code == 200
    assert [span.parent for span in recorded.all()] == [None]


@pytest.mark.parametrize(("ratio", "spans"), [(0.0, 0), (1.0, 20)])
def test_the_ratio_decides_about_requests_without_a_traceparent(ratio: float, spans: int) -> None:
    exporter = InMemorySpanExporter()
    recorder = Recorder(ratio, SimpleSpanProcessor(exporter))
    for _ in range(20):
        if span := recorder.begin_request({}, "GET", "/"):
            span.end()
    assert recorder.begin_request({"traceparent": traceparent(1, sampled=False)}, "GET", "/") is None
    assert recorder.begin_request({"traceparent": traceparent(1)}, "GET", "/") is not None
    assert len(exporter.get_finished_spans()) == spans


def test_server_errors_are_marked_and_refusals_are_not(
    client: TestClient, recorded: Recorded, services: ScriptedServices
) -> None:
    def fail(_: object) -> None:
        raise EngineError(CANARY)

    services.cola.answer = fail
    client.post("/generate", json={"passage": "a"})
    client.post("/generate", json={"passage": ""})
    failed, refused = recorded.all()
    assert (failed.attributes or {})["error.type"] == "500"
    assert not failed.status.is_ok
    assert "error.type" not in (refused.attributes or {})


def test_no_span_repeats_what_callers_send(client: TestClient, recorded: Recorded) -> None:
    headers = {"Authorization": f"Bearer {CANARY}", "User-Agent": CANARY}
    headers |= {"traceparent": traceparent(1), "tracestate": f"vendor={CANARY}"}
    client.post(f"/pred/sentences/?{CANARY}", json=PAIR, headers=headers)
    client.request(CANARY, f"/{CANARY}", headers=headers)
    assert [span.name for span in recorded.all()] == ["POST /pred/sentences", "HTTP other"]
    assert not [span for span in recorded.all() if CANARY in span.to_json()]
