import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.serve.exceptions import BackPressureError

from deployments.calls.remote import UPDATE_PAUSE_S, UPDATE_TRIES, RemoteStage, RemoteStream, retry_mismatch
from pipelines.errors import CheckpointMismatch, Overloaded, StageUnavailable


class Handle:
    """A deployment handle. Each call returns or raises the next value of a script."""

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
    """The error as it arrives from a replica: its class is the same, but its `str()` is a traceback."""
    wrapped: Exception = RayTaskError("run", "Traceback ...", error).as_instanceof_cause()
    return wrapped


REPLICA_LOST = [ActorDiedError(), ActorUnavailableError("gone", b"0" * 16), asyncio.CancelledError()]


@pytest.mark.parametrize("lost", REPLICA_LOST)
def test_a_lost_call_is_repeated_once(lost: BaseException) -> None:
    handle = Handle(lost, "rows")
    assert call(handle) == "rows"
    assert handle.calls == [("batch", 1)] * 2


@pytest.mark.parametrize("lost", REPLICA_LOST)
def test_a_call_lost_twice_is_not_repeated_again(lost: BaseException) -> None:
    handle = Handle(lost, lost, "never")
    with pytest.raises(StageUnavailable, match="StsEncoder"):
        call(handle)
    assert len(handle.calls) == 2


@pytest.mark.parametrize("lost", REPLICA_LOST)
def test_a_lost_call_that_is_not_repeatable_is_not_repeated(lost: BaseException) -> None:
    handle = Handle(lost, "never")
    stage = RemoteStage(handle, "run", repeatable=False)  # type: ignore[arg-type]
    with pytest.raises(StageUnavailable, match="StsEncoder"):
        asyncio.run(stage("batch", 1))
    assert len(handle.calls) == 1


def test_an_error_of_the_project_arrives_without_its_traceback() -> None:
    handle = Handle(remote(CheckpointMismatch("a", "b")), "never")
    with pytest.raises(CheckpointMismatch) as raised:
        call(handle)
    assert str(raised.value) == "tokens of checkpoint a reached the model of b"
    assert (raised.value.tokens_of, raised.value.model_of) == ("a", "b")
    assert len(handle.calls) == 1


def test_full_queues_raise_overloaded() -> None:
    with pytest.raises(Overloaded):
        call(Handle(BackPressureError(9, 9)))


def test_any_other_error_is_raised_unchanged() -> None:
    with pytest.raises(ValueError, match="bug"):
        call(Handle(ValueError("bug")))


def test_a_cancelled_call_is_not_repeated() -> None:
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


class Streams(Handle):
    """A handle whose streams yield the pieces of a script, and then end or fail. Counts cancelled streams."""

    def __init__(self, *scripts: list[Any]) -> None:
        super().__init__(*scripts)
        self.cancelled = 0

    def options(self, *, stream: bool) -> "Streams":
        assert stream
        return self

    def remote(self, *args: Any) -> Any:
        self.calls.append(args)
        return Pieces(self, self._ends.pop(0))


class Pieces:
    def __init__(self, handle: Streams, script: list[Any]) -> None:
        self._handle = handle
        self._script = iter(script)

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> Any:
        piece = next(self._script, None)
        if piece is None:
            raise StopAsyncIteration
        if isinstance(piece, BaseException):
            raise piece
        if isinstance(piece, asyncio.Event):
            await piece.wait()
        return piece

    def cancel(self) -> None:
        self._handle.cancelled += 1


def pieces_of(handle: Streams, *, repeatable: bool = True) -> tuple[list[Any], BaseException | None]:
    """The pieces of a stream, and the error that ended it."""

    async def scenario() -> tuple[list[Any], BaseException | None]:
        received: list[Any] = []
        stream = RemoteStream(handle, "run", repeatable=repeatable)("question")  # type: ignore[arg-type]
        try:
            while True:
                received.append(await anext(stream))
        except StopAsyncIteration:
            return received, None
        except Exception as error:
            return received, error

    return asyncio.run(scenario())


def test_a_stream_yields_its_pieces() -> None:
    handle = Streams(["가", "나"])
    assert pieces_of(handle) == (["가", "나"], None)
    assert handle.calls == [("question",)]


@pytest.mark.parametrize("lost", REPLICA_LOST)
def test_a_stream_lost_before_its_first_piece_is_repeated_once(lost: BaseException) -> None:
    assert pieces_of(Streams([lost], ["가"])) == (["가"], None)
    received, error = pieces_of(Streams([lost], [lost], ["never"]))
    assert received == []
    assert isinstance(error, StageUnavailable)


@pytest.mark.parametrize("lost", REPLICA_LOST)
def test_a_lost_stream_that_is_not_repeatable_is_not_repeated(lost: BaseException) -> None:
    handle = Streams([lost], ["never"])
    assert isinstance(pieces_of(handle, repeatable=False)[1], StageUnavailable)
    assert len(handle.calls) == 1


@pytest.mark.parametrize("lost", REPLICA_LOST)
def test_a_stream_lost_after_its_first_piece_is_not_repeated(lost: BaseException) -> None:
    received, error = pieces_of(Streams(["가", lost], ["never"]))
    assert received == ["가"]
    assert isinstance(error, StageUnavailable)


def test_an_error_of_a_stream_arrives_as_it_was_raised() -> None:
    received, error = pieces_of(Streams(["가", remote(CheckpointMismatch("a", "b"))]))
    assert received == ["가"]
    assert str(error) == "tokens of checkpoint a reached the model of b"
    assert isinstance(pieces_of(Streams([BackPressureError(9, 9)]))[1], Overloaded)


def test_a_cancelled_or_closed_stream_is_cancelled_in_the_replica() -> None:
    async def scenario() -> None:
        handle = Streams(["가", asyncio.Event()], ["가", "나"])
        stream = RemoteStream(handle, "run")  # type: ignore[arg-type]
        waiting = stream("question")
        assert await anext(waiting) == "가"
        task = asyncio.create_task(anext(waiting))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (handle.cancelled, len(handle.calls)) == (1, 1)
        closed = stream("question")
        await anext(closed)
        await closed.aclose()
        assert (handle.cancelled, len(handle.calls)) == (2, 2)

    asyncio.run(scenario())


def retried(mismatches: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[float]]:
    """The result of a pipeline that first raises CheckpointMismatch `mismatches` times, and the pauses in between."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def pipeline(items: Sequence[int]) -> list[int]:
        if len(pauses) < mismatches:
            raise CheckpointMismatch("old", "new")
        return [item * 2 for item in items]

    monkeypatch.setattr("deployments.calls.remote.asyncio.sleep", pause)
    return asyncio.run(retry_mismatch(pipeline)([1, 2])), pauses


def test_a_checkpoint_mismatch_is_retried_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert retried(0, monkeypatch) == ([2, 4], [])
    assert retried(3, monkeypatch) == ([2, 4], [UPDATE_PAUSE_S] * 3)
    assert retried(UPDATE_TRIES, monkeypatch) == ([2, 4], [UPDATE_PAUSE_S] * UPDATE_TRIES)


def test_a_checkpoint_mismatch_that_stays_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointMismatch):
        retried(UPDATE_TRIES + 1, monkeypatch)
