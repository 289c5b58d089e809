import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from ray.exceptions import RayActorError
from ray.serve.schema import DeploymentStatus, DeploymentStatusOverview, DeploymentStatusTrigger, ReplicaState

from deployments import readiness
from deployments.readiness import Readiness, State, States, state_of

READY: States = {"Ingress": "running", "StsEncoder": "missing"}


class Controller:
    """Answers when `answers` is set, and counts the calls."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.calls = 0

    def __call__(self) -> States:
        self.calls += 1
        assert self.answers.wait(60)
        return READY


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "PATIENCE_S", 0.05)


@pytest.mark.usefixtures("impatient")
def test_many_callers_ask_a_controller_that_hangs_once_and_get_the_last_answer() -> None:
    async def scenario() -> None:
        controller = Controller()
        asked = Readiness(controller)
        assert await asyncio.gather(*(asked.states() for _ in range(200))) == [{}] * 200
        assert await asked.states() == {}
        assert controller.calls == 1
        controller.answers.set()
        assert asked._asking is not None
        await asked._asking
        assert await asked.states() == READY

    asyncio.run(scenario())


def test_an_answer_is_used_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        controller = Controller()
        controller.answers.set()
        asked = Readiness(controller)
        for _ in range(3):
            assert await asked.states() == READY
        assert controller.calls == 1
        later = time.monotonic() + readiness.FRESH_S
        monkeypatch.setattr(readiness.time, "monotonic", lambda: later)
        assert await asked.states() == READY
        assert controller.calls == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("failing", [RayActorError, TimeoutError, KeyError])
def test_a_controller_that_fails_leaves_the_last_answer(
    failing: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "FRESH_S", 0.0)
    answers: list[States | None] = [READY, None, {"Ingress": "running"}]

    def ask() -> States:
        answer = answers.pop(0)
        if answer is None:
            raise failing()
        return answer

    async def scenario() -> None:
        asked = Readiness(ask)
        assert [await asked.states() for _ in range(3)] == [READY, READY, {"Ingress": "running"}]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "states", "state"),
    [
        ("HEALTHY", {"RUNNING": 1}, "running"),
        ("UNHEALTHY", {"RUNNING": 1, "STARTING": 1}, "running"),
        ("HEALTHY", {}, "asleep"),
        ("DOWNSCALING", {"STOPPING": 1}, "asleep"),
        ("UPSCALING", {"STARTING": 1}, "asleep"),  # a request has come
        ("UNHEALTHY", {"STARTING": 1}, "missing"),
        ("UPDATING", {"STARTING": 1}, "missing"),
        ("DEPLOY_FAILED", {}, "missing"),
    ],
)
def test_a_deployment_without_replicas_is_asleep_if_the_autoscaling_wants_it_so(
    status: str, states: dict[str, int], state: State
) -> None:
    overview = DeploymentStatusOverview(
        status=DeploymentStatus(status),
        status_trigger=DeploymentStatusTrigger.UNSPECIFIED,
        replica_states={ReplicaState(name): count for name, count in states.items()},
        message="",
    )
    assert state_of(overview) == state
