import asyncio
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.serve.exceptions import BackPressureError

from deployments.stages import RemoteStage
from pipelines.errors import CheckpointMismatch, Overloaded, StageUnavailable


class Handle:
    """A deployment handle whose calls end one after another as scripted."""

    deployment_name = "StsEncoder"

    def __init__(self, *ends: Any) -> None:
        self._ends = list(ends)
        self.calls: list[tuple[Any, ...]] = []

    @property
    def run(self) -> "Handle":
        return self

    async def remote(self, *args: Any) -> Any:
        self.calls.append(args)
        end = self._ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end


def call(handle: Handle) -> Any:
    stage = RemoteStage(handle, "run")  # type: ignore[arg-type]
    return asyncio.run(stage("batch", 1))


def remote(error: Exception) -> Exception:
    """As it arrives from a replica: of the same class, with a traceback for `str()`."""
    wrapped: Exception = RayTaskError("run", "Traceback ...", error).as_instanceof_cause()
    return wrapped


LOST = [ActorDiedError(), ActorUnavailableError("gone", b"0" * 16), asyncio.CancelledError()]


@pytest.mark.parametrize("lost", LOST)
def test_a_call_lost_with_its_replica_is_made_once_more(lost: BaseException) -> None:
    handle = Handle(lost, "rows")
    assert call(handle) == "rows"
    assert handle.calls == [("batch", 1)] * 2


@pytest.mark.parametrize("lost", LOST)
def test_a_call_lost_twice_is_not_made_again(lost: BaseException) -> None:
    handle = Handle(lost, lost, "never")
    with pytest.raises(StageUnavailable, match="StsEncoder"):
        call(handle)
    assert len(handle.calls) == 2


def test_an_error_of_the_project_arrives_without_its_traceback() -> None:
    handle = Handle(remote(CheckpointMismatch("a", "b")), "never")
    with pytest.raises(CheckpointMismatch) as raised:
        call(handle)
    assert str(raised.value) == "tokens of checkpoint a reached the model of b"
    assert (raised.value.tokens_of, raised.value.model_of) == ("a", "b")
    assert len(handle.calls) == 1


def test_full_queues_are_an_overload() -> None:
    with pytest.raises(Overloaded):
        call(Handle(BackPressureError(9, 9)))


def test_any_other_error_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match="bug"):
        call(Handle(ValueError("bug")))


def test_a_caller_that_leaves_is_not_called_again_for() -> None:
    class Waiting(Handle):
        async def remote(self, *args: Any) -> Any:
            self.calls.append(args)
            await asyncio.Event().wait()

    async def scenario() -> None:
        handle = Waiting()
        task = asyncio.create_task(RemoteStage(handle, "run")("batch"))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(handle.calls) == 1

    asyncio.run(scenario())
