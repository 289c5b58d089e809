"""Calls to deployments as pipeline stages: retried when a replica dies, with errors of the project's own tree."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from grpc.aio import AioRpcError
from ray.exceptions import RayActorError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle

from pipelines.errors import CheckpointMismatch, MunjangError, Overloaded, StageUnavailable

logger = logging.getLogger("ray.serve")

Items = TypeVar("Items")
Results = TypeVar("Results")

UPDATE_PAUSE_S = 0.25
UPDATE_TRIES = 120  # 30 s at least, and a request's deadline ends them, too
LOST = (RayActorError, ReplicaUnavailableError, AioRpcError, asyncio.CancelledError)
RETRY_AFTER_S = 1.0


class RemoteStage:
    """One method of a deployment. A call that a dying replica took along is made once more where the method is pure.

    Raises the replica's own MunjangError, Overloaded where every replica's queue is full, StageUnavailable where no
    replica could answer.
    """

    def __init__(self, handle: DeploymentHandle[Any], method: str, *, pure: bool = True) -> None:
        self._call = getattr(handle, method)
        self._name = handle.deployment_name
        self._pure = pure

    async def __call__(self, *args: Any) -> Any:
        """Make the call."""
        try:
            return await self._call.remote(*args)
        except LOST as error:
            _unless_it_is_ours(error)
            if not self._pure:
                raise _translated(self._name, error) from None
            logger.warning("%s: lost a replica in mid-call (%s), calling again", self._name, type(error).__name__)
            return await self._last_try(*args)
        except Exception as error:
            raise _translated(self._name, error) from None

    async def _last_try(self, *args: Any) -> Any:
        try:
            return await self._call.remote(*args)
        except (*LOST, Exception) as error:
            _unless_it_is_ours(error)
            raise _translated(self._name, error) from None


class RemoteStream:
    """One method of a deployment that gives what it has piece by piece. Raises as RemoteStage.

    A call that a dying replica took along is made once more where the method is pure and nothing of it had come yet.
    """

    def __init__(self, handle: DeploymentHandle[Any], method: str, *, pure: bool = True) -> None:
        self._call = getattr(handle.options(stream=True), method)
        self._name = handle.deployment_name
        self._pure = pure

    async def __call__(self, *args: Any) -> AsyncGenerator[Any]:
        """Make the call; closing the iterator, or cancelling, cancels it in the replica."""
        come, last = 0, not self._pure
        while True:
            response = self._call.remote(*args)
            try:
                async for piece in response:
                    come += 1
                    yield piece
                return
            except (*LOST, Exception) as error:
                _unless_it_is_ours(error)
                if come or last or not isinstance(error, LOST):
                    raise _translated(self._name, error) from None
                logger.warning("%s: lost a replica (%s), calling again", self._name, type(error).__name__)
                last = True
            finally:
                response.cancel()


def across_updates(pipeline: Callable[[Items], Awaitable[Results]]) -> Callable[[Items], Awaitable[Results]]:
    """A pipeline that starts again, from the tokenizer on, while a rolling update has replaced only one of the two.

    Of several replicas each, another try may meet a tokenizer and a model that are both old, or both new. Raises
    CheckpointMismatch after `UPDATE_TRIES`.
    """

    async def patient(items: Items) -> Results:
        for _ in range(UPDATE_TRIES):
            try:
                return await pipeline(items)
            except CheckpointMismatch:
                await asyncio.sleep(UPDATE_PAUSE_S)
        return await pipeline(items)

    return patient


def _translated(stage: str, error: BaseException) -> BaseException:
    """The error as it was raised: a remote exception's `str()` is a traceback, its cause's is not."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    match cause:
        case MunjangError():
            return cause
        case BackPressureError():
            return Overloaded(RETRY_AFTER_S)
        case DeploymentUnavailableError() | TaskCancelledError():
            return StageUnavailable(stage)
    return StageUnavailable(stage) if isinstance(error, LOST) else error


def _unless_it_is_ours(error: BaseException) -> None:
    """A dying replica cancels its calls, and that arrives as if this task itself had been cancelled."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
