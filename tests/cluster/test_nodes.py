"""Replicas on several nodes run where the configuration says."""

import time

import httpx2
import pytest

from tests.cluster.loads import is_complete
from tests.cluster.network import wait_until
from tests.cluster.nodes import Cluster
from tests.faults.conftest import Report

pytestmark = pytest.mark.cluster

ON_CPUS = {"Ingress", "StsTokenizer", "ColaTokenizer", "QaTokenizer", "PersonaChat", "JobRunner"}
ON_GPUS = {"StsEncoder", "ColaClassifier", "QaExtractor"}


def test_replicas_run_on_the_nodes_of_their_pool_and_are_spread(nodes: Cluster) -> None:
    wait_until(lambda: is_complete(nodes), 60, "all replicas")
    placed = nodes.replicas()
    assert {name for node in ("cpu1", "cpu2") for name in placed[node]} <= ON_CPUS
    assert {name for node in ("gpu1", "gpu2") for name in placed[node]} <= ON_GPUS
    assert placed["gpu1"] == placed["gpu2"] == ["QaExtractor", "StsEncoder"]
    assert nodes.head.machine.replicas() == []


def test_a_task_without_replicas_starts_with_its_first_request(nodes: Cluster, report: Report) -> None:
    assert nodes.count("ColaClassifier") == 0
    assert nodes.head.answers("/readyz")
    begun_s = time.monotonic()
    answer = httpx2.post(f"{nodes.head.url}/generate", json={"passage": "The cat sat."}, timeout=60)
    report(first_answer_s=round(time.monotonic() - begun_s, 1))
    assert answer.status_code == 200
    placed = nodes.replicas()
    assert (placed["gpu1"] + placed["gpu2"]).count("ColaClassifier") == nodes.count("ColaClassifier") == 1
