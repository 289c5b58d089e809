"""Traces of a running graph, as a collector gets them over OTLP."""

import os
import secrets
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.otlp import Collector, Span, has_exporter

pytestmark = [
    pytest.mark.serve,
    pytest.mark.skipif(
        not has_exporter() and os.environ.get("CI") != "true", reason="the extra `tracing` is not installed"
    ),
]

CANARY = "canary9b64"
STAGES = {"group commit", "call", "tokenize", "queue", "forward", "post-process"}
REQUESTS = [
    ("/pred/sentences", {"sentence_1": f"{CANARY} 하나", "sentence_2": f"{CANARY} 둘"}, "Sts"),
    ("/generate", {"passage": f"The {CANARY} sings."}, "Cola"),
    ("/api", {"question": f"{CANARY}?", "context": f"{CANARY}는 산이다."}, "Qa"),
]


def traced(client: httpx2.Client, path: str, body: dict[str, str], *, sampled: bool = True) -> tuple[str, str]:
    """Send a request from a span of a caller. Returns the ids of its trace and of the span."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace}-{span}-{int(sampled):02x}", "X-Request-ID": trace}
    assert client.post(path, json=body, headers=headers).status_code == 200
    return trace, span


def one(spans: list[Span], name: str) -> Span:
    (found,) = [span for span in spans if span.name == name]
    return found


@pytest.mark.parametrize(("path", "body", "task"), REQUESTS)
def test_each_stage_of_a_request_has_a_span_in_the_trace_of_its_caller(
    client: httpx2.Client, collector: Collector, path: str, body: dict[str, str], task: str
) -> None:
    trace, caller = traced(client, path, {key: f"{text} {secrets.token_hex(4)}" for key, text in body.items()})
    spans = collector.trace(trace, STAGES | {f"POST {path}"})
    request, call = one(spans, f"POST {path}"), one(spans, "call")
    assert (request.parent, request.deployment) == (caller, "Ingress")
    assert (request.attributes["munjang.request_id"], request.attributes["http.response.status_code"]) == (trace, 200)
    assert {one(spans, "group commit").parent, call.parent} == {request.id}
    below = [span for span in spans if span.name in {"tokenize", "queue", "forward", "post-process"}]
    assert {span.parent for span in below} == {call.id}
    deployments = {name: {span.deployment for span in below if span.name == name} for name in STAGES - {"call"}}
    assert deployments["tokenize"] == {f"{task}Tokenizer"}
    assert deployments["queue"] == deployments["forward"]
    assert all(name.startswith(task) for name in deployments["forward"])
    # The two sentences of a lone pair may have a batch each, whose spans may arrive later than this trace was read.
    assert all(int(span.attributes["munjang.items"]) >= 1 for span in below if span.name == "forward")


def test_requests_that_share_a_batch_are_linked_from_it(client: httpx2.Client, collector: Collector) -> None:
    def send(_: int) -> str:
        return traced(client, "/generate", {"passage": f"It rains {secrets.token_hex(4)}."})[0]

    with ThreadPoolExecutor(16) as threads:
        traces = list(threads.map(send, range(64)))
    requests = {one(collector.trace(trace, {"POST /generate"}), "POST /generate").id for trace in traces}
    collector.trace(traces[-1], {"group commit"})
    linked = {link for span in collector.spans if span.name == "call" for link in span.links}
    assert linked & requests


def test_a_chat_is_traced_through_the_calls_that_it_makes(client: httpx2.Client, collector: Collector) -> None:
    body = {"prompt": f"{CANARY}?", "api_key": CANARY, "db_path": "vector_store/"}
    trace, _ = traced(client, "/chat/", body)
    spans = collector.trace(trace, {"POST /chat", "chat", "call", "forward"})
    assert one(spans, "chat").parent == one(spans, "POST /chat").id
    assert {span.deployment for span in spans} >= {"Ingress", "PersonaChat", "StsTokenizer", "StsEncoder"}


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/info", "/v1/graph", "/openapi.json"])
def test_requests_without_a_body_can_be_traced(client: httpx2.Client, collector: Collector, path: str) -> None:
    trace, caller = secrets.token_hex(16), secrets.token_hex(8)
    assert client.get(path, headers={"traceparent": f"00-{trace}-{caller}-01"}).status_code == 200
    (span,) = collector.trace(trace, {f"GET {path}"})
    assert span.parent == caller


def test_a_stream_is_traced_until_its_end(client: httpx2.Client, collector: Collector) -> None:
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", "Accept": "text/event-stream"}
    body = {"prompt": "이름이 뭐야?", "api_key": "none", "db_path": "vector_store/"}
    assert "event: done" in client.post("/chat/", json=body, headers=headers).text
    assert {span.deployment for span in collector.trace(trace, {"POST /chat", "chat", "call"})} >= {"PersonaChat"}


def test_requests_whose_callers_do_not_ask_for_it_are_not_traced(client: httpx2.Client, collector: Collector) -> None:
    path, body, _ = REQUESTS[0]
    client.post(path, json=body)
    unsampled, _ = traced(client, path, body, sampled=False)
    sampled, _ = traced(client, path, body)
    collector.trace(sampled, {f"POST {path}"})
    assert not [span for span in collector.spans if span.trace == unsampled]
    assert all(span.parent for span in collector.spans)


def test_no_span_repeats_what_callers_send(client: httpx2.Client, collector: Collector) -> None:
    for path, body, _ in REQUESTS:
        trace, _ = traced(client, f"{path}?{CANARY}", body)
        collector.trace(trace, {f"POST {path}"})
    assert not [body for body in collector.raw if CANARY.encode() in body]
