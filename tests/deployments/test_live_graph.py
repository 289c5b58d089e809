"""The picture of the graph from the reports of replicas, without Ray."""

import asyncio
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError

from deployments import live_graph
from deployments.live_graph import LiveGraph
from deployments.readiness import Deployed, Readiness


class Handle:
    """A handle whose replicas give these answers to a broadcast."""

    def __init__(self, name: str, *answers: Any, error: Exception | None = None) -> None:
        self.deployment_name = name
        self.asked = 0
        self._answers = list(answers)
        self._error = error

    def broadcast(self, method: str) -> "Handle":
        assert method == "report"
        self.asked += 1
        return self

    async def results_async(self, *, timeout_s: float, return_exceptions: bool) -> list[Any]:
        assert timeout_s > 0
        assert return_exceptions
        if self._error:
            raise self._error
        return self._answers


def graph_of(handles: list[Handle], known: dict[str, Deployed]) -> LiveGraph:
    own, *others = handles
    graph = LiveGraph(others)  # type: ignore[arg-type]
    graph.__dict__["_own_handle"] = own
    graph._deployed = Readiness(lambda: known)
    return graph


def test_each_deployment_is_shown_with_its_replicas_in_the_order_of_their_ids() -> None:
    handles = [Handle("Ingress", {"id": "a"}), Handle("StsEncoder", {"id": "z"}, {"id": "b"})]
    known = {"Ingress": Deployed("running", 1, 0), "StsEncoder": Deployed("running", 2, 1)}
    assert asyncio.run(graph_of(handles, known).deployments()) == [
        {"name": "Ingress", "state": "running", "running": 1, "starting": 0, "replicas": [{"id": "a"}]},
        {"name": "StsEncoder", "state": "running", "running": 2, "starting": 1, "replicas": [{"id": "b"}, {"id": "z"}]},
    ]


def test_a_deployment_that_sleeps_or_is_unknown_is_not_asked() -> None:
    handles = [Handle("Ingress"), Handle("StsEncoder"), Handle("QaExtractor")]
    known = {"Ingress": Deployed("running", 1, 0), "StsEncoder": Deployed("asleep", 0, 0)}
    shown = asyncio.run(graph_of(handles, known).deployments())
    assert [(each["name"], each["state"]) for each in shown] == [
        ("Ingress", "running"),
        ("StsEncoder", "asleep"),
        ("QaExtractor", "missing"),
    ]
    assert [handle.asked for handle in handles] == [1, 0, 0]


@pytest.mark.parametrize("error", [TimeoutError(), DeploymentUnavailableError(DeploymentID("StsEncoder", "munjang"))])
def test_replicas_that_do_not_answer_have_no_report_and_the_others_have_theirs(error: Exception) -> None:
    handles = [Handle("Ingress", {"id": "a"}, RayActorError()), Handle("StsEncoder", error=error)]
    known = {name: Deployed("running", 2, 0) for name in ("Ingress", "StsEncoder")}
    ingress, encoder = asyncio.run(graph_of(handles, known).deployments())
    assert (ingress["running"], ingress["replicas"]) == (2, [{"id": "a"}])
    assert (encoder["running"], encoder["replicas"]) == (2, [])


def test_many_callers_ask_the_replicas_once_and_later_ones_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        ingress = Handle("Ingress", {"id": "a"})
        graph = graph_of([ingress], {"Ingress": Deployed("running", 1, 0)})
        await asyncio.gather(*(graph.deployments() for _ in range(50)))
        assert ingress.asked == 1
        monkeypatch.setattr(live_graph, "FRESH_S", 0.0)
        await graph.deployments()
        assert ingress.asked == 2

    asyncio.run(scenario())


def test_a_caller_that_leaves_does_not_take_the_picture_from_the_others() -> None:
    async def scenario() -> None:
        graph = graph_of([Handle("Ingress", {"id": "a"})], {"Ingress": Deployed("running", 1, 0)})
        leaving, staying = (asyncio.create_task(graph.deployments()) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        assert (await staying)[0]["replicas"] == [{"id": "a"}]

    asyncio.run(scenario())
