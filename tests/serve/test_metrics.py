"""The metrics of a running graph under load, as a real Prometheus with the shipped configuration sees them."""

import json
import math
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from deployments.metrics import group_commit, model, requests, tokenizer
from deployments.metrics.registry import REGISTRY
from pipelines.checkpoints.resolve import ROOT
from tests.prometheus import DISCOVERY, Prometheus, scraping
from tests.serve.server import Server

pytestmark = pytest.mark.serve

CANARY = "canary7d21"
SEEN_S = 90.0
METRICS = (group_commit, model, requests, tokenizer)  # their import fills the registry
BOARD = json.loads((ROOT / "deploy" / "grafana" / "munjang.json").read_text(encoding="utf-8"))
QUERIES = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", [])]


@contextmanager
def load(url: str) -> Iterator[None]:
    """Send all kinds of requests, also some that are refused, until the end."""
    ended = threading.Event()

    def send() -> None:
        with httpx2.Client(base_url=url, timeout=60) as client:
            number = 0
            while not ended.is_set():
                number += 1
                pair = {"sentence_1": f"{CANARY} {number}", "sentence_2": f"{CANARY} 둘"}
                client.post("/pred/sentences/", json=pair)
                client.post("/pred/sentences/", json=pair, headers={"X-Timeout-Seconds": "0.001"})
                client.post("/generate", json={"passage": f"The {CANARY} sings {number} songs."})
                client.post("/generate", json={"passage": CANARY * 2_000})
                client.post("/api", json={"question": f"{CANARY}?", "context": f"{CANARY}는 산이다. {number}"})
                client.get(f"/{CANARY}/{number}")
                rows = json.dumps({"results": [{"sentence1": f"{CANARY} {number}", "sentence2": "둘"}] * 3})
                client.post("/pred/file/", files={"file": ("pairs.json", rows)})
                client.post("/chat/", json={"prompt": f"{CANARY}?", "api_key": CANARY, "db_path": "vector_store/"})

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        ended.set()
        sender.join()


@pytest.fixture(scope="module")
def prometheus(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Under load, after the first scrapes."""
    with scraping(server.session(), tmp_path_factory.mktemp("prometheus")) as prometheus, load(server.url):
        yield prometheus


def seen(look: Callable[[], Any], what: str) -> Any:
    """What `look` returns as soon as it is true."""
    until_s = time.monotonic() + SEEN_S
    while not (found := look()):
        assert time.monotonic() < until_s, f"not seen: {what}"
        time.sleep(0.5)
    return found


def finite(prometheus: Prometheus, expression: str) -> list[tuple[dict[str, str], float]]:
    """The finite values of an expression as soon as there are any."""

    def look() -> list[tuple[dict[str, str], float]]:
        return [(labels, value) for labels, value in prometheus.query(expression) if math.isfinite(value)]

    found: list[tuple[dict[str, str], float]] = seen(look, expression)
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_of_the_dashboard_has_a_result(prometheus: Prometheus, query: str) -> None:
    assert finite(prometheus, query.replace("$__rate_interval", "1m").replace("$task", ".+"))


def test_every_alert_is_evaluated_and_finds_what_it_compares(prometheus: Prometheus) -> None:
    assert finite(prometheus, "munjang_requests_total")
    rules = prometheus.rules()
    assert len(rules) == len(re.findall(r"- alert:", (ROOT / "deploy/prometheus/alerts.yml").read_text()))
    for rule in rules:
        if rule["name"] == "MunjangDown":
            assert seen(lambda query=rule["query"]: not prometheus.query(query), "metrics of the ingress")
        else:
            compared, _ = rule["query"].rsplit(" > ", 1)
            assert finite(prometheus, compared)
    assert {(rule["health"], rule.get("lastError", "")) for rule in prometheus.rules()} == {("ok", "")}


def test_every_metric_of_every_process_arrives(prometheus: Prometheus) -> None:
    for family in REGISTRY.collect():
        suffix = {"counter": "_total", "histogram": "_bucket"}.get(family.type, "")
        assert finite(prometheus, f"{family.name}{suffix}")


@pytest.mark.parametrize("metric", ["munjang_tokenize_seconds_count", "munjang_forward_seconds_count"])
def test_the_stages_of_each_task_are_recorded(prometheus: Prometheus, metric: str) -> None:
    tasks = {"sts", "cola", "qa"}
    assert seen(lambda: {labels["task"] for labels, value in prometheus.query(metric) if value} == tasks, metric)


@pytest.mark.parametrize(
    ("deployment", "items"),
    [
        ("Ingress", {"pairs", "file_pairs", "passages", "questions"}),
        ("PersonaChat", {"query_texts", "document_texts", "questions"}),
    ],
)
def test_post_processing_is_recorded_by_the_kind_of_the_items(
    prometheus: Prometheus, deployment: str, items: set[str]
) -> None:
    query = f'munjang_postprocess_seconds_count{{deployment="{deployment}"}} > 0'
    assert seen(lambda: items <= {labels["items"] for labels, _ in prometheus.query(query)}, query)


def test_no_metric_repeats_what_callers_send(prometheus: Prometheus, server: Server) -> None:
    assert finite(prometheus, 'munjang_refusals_total{reason="too_large"} > 0')
    discovery = json.loads(Path(server.session(), DISCOVERY).read_text())
    for target in (target for one in discovery for target in one["targets"]):
        with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as answer:
            assert CANARY not in answer.read().decode()
