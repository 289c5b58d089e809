"""Every node of a cluster answers every route, wherever the replicas are."""

import httpx2
import pytest

from tests.cluster.loads import question
from tests.cluster.nodes import Cluster

pytestmark = pytest.mark.cluster

CHAT = {"prompt": "생일이 언제예요?", "api_key": "test-key", "db_path": "vector_store/"}


def test_every_node_answers_every_route(nodes: Cluster) -> None:
    for node in (nodes.head, *nodes.workers.values()):
        with httpx2.Client(base_url=node.url, timeout=60) as client:
            pair = {"sentence_1": "오늘 과제", "sentence_2": "내일 회의"}
            assert client.post("/pred/sentences/", json=pair).status_code == 200
            assert client.post("/api", json=question(1)).status_code == 200
            assert client.post("/generate", json={"passage": "The museum opens."}).status_code == 200
            assert client.post("/chat/", json=CHAT).status_code == 200
            assert client.get("/readyz").status_code == 200
