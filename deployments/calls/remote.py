"""Call deployments as pipeline stages. Lost calls are made again, and errors become the project's own errors."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from grpc.aio import AioRpcError
from ray.exceptions import RayActorError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle

from deployments.tracing.spans import current
from pipelines.errors import CheckpointMismatch, MunjangError, Overloaded, StageUnavailable

logger = logging.getLogger("ray.serve")

Items = TypeVar("Items")
Results = TypeVar("Results")

UPDATE_PAUSE_S = 0.25
UPDATE_TRIES = 120  # at least 30 s with the pause above; a request's deadline may end them sooner
REPLICA_LOST = (RayActorError, ReplicaUnavailableError, AioRpcError, asyncio.CancelledError)
RETRY_AFTER_S = 1.0


class RemoteStage:
    """One method of a deployment. If a replica dies during a call of a repeatable method, the call is made once more.

    traced  whether the method takes the argument `traceparent`, which it then gets while a sampled span is current

    Raises the replica's own MunjangError, Overloaded if the queues of all replicas are full, and StageUnavailable if no
    replica can answer.
    """

    def __init__(
        self, handle: DeploymentHandle[Any], method: str, *, repeatable: bool = True, traced: bool = False
    ) -> None:
        self._traced = traced
        self._call = getattr(handle, method)
        self._name = handle.deployment_name
        self._repeatable = repeatable

    async def __call__(self, *args: Any) -> Any:
        """Make the call."""
        try:
            return await self._call.remote(*args, **_traceparent(self._traced))
        except REPLICA_LOST as error:
            _raise_if_cancelled_here(error)
            if not self._repeatable:
                raise _translate(self._name, error) from None
            logger.warning("%s: a replica was lost during a call (%s); calling again", self._name, type(error).__name__)
            return await self._last_try(*args)
        except Exception as error:
            raise _translate(self._name, error) from None

    async def _last_try(self, *args: Any) -> Any:
        try:
            return await self._call.remote(*args, **_traceparent(self._traced))
        except (*REPLICA_LOST, Exception) as error:
            _raise_if_cancelled_here(error)
            raise _translate(self._name, error) from None


class RemoteStream:
    """One streaming method of a deployment. Raises the same errors as RemoteStage.

    If a replica dies during a call of a repeatable method, the call is made once more, unless a piece has arrived.
    `traced` is that of RemoteStage.
    """

    def __init__(
        self, handle: DeploymentHandle[Any], method: str, *, repeatable: bool = True, traced: bool = False
    ) -> None:
        self._traced = traced
        self._call = getattr(handle.options(stream=True), method)
        self._name = handle.deployment_name
        self._repeatable = repeatable

    async def __call__(self, *args: Any) -> AsyncGenerator[Any]:
        """Make the call. Closing the iterator, or cancelling the task, cancels the call in the replica."""
        received, is_last_try = 0, not self._repeatable
        while True:
            response = self._call.remote(*args, **_traceparent(self._traced))
            try:
                async for piece in response:
                    received += 1
                    yield piece
                return
            except (*REPLICA_LOST, Exception) as error:
                _raise_if_cancelled_here(error)
                if received or is_last_try or not isinstance(error, REPLICA_LOST):
                    raise _translate(self._name, error) from None
                logger.warning(
                    "%s: a replica was lost before the first piece (%s); calling again",
                    self._name,
                    type(error).__name__,
                )
                is_last_try = True
            finally:
                response.cancel()


def _traceparent(traced: bool) -> dict[str, str]:
    """The argument by which a replica knows for which sampled span it works; none if there is none."""
    span = current() if traced else None
    return {"traceparent": span} if span else {}


def retry_mismatch(pipeline: Callable[[Items], Awaitable[Results]]) -> Callable[[Items], Awaitable[Results]]:
    """Wrap a pipeline so that it starts again, from the tokenizer on, after a CheckpointMismatch.

    During a rolling update a request may meet an old tokenizer and a new model, or the reverse. Another try may meet
    two old replicas or two new ones. Raises CheckpointMismatch if the try after `UPDATE_TRIES` pauses still fails.
    """

    async def retrying(items: Items) -> Results:
        for _ in range(UPDATE_TRIES):
            try:
                return await pipeline(items)
            except CheckpointMismatch:
                await asyncio.sleep(UPDATE_PAUSE_S)
        return await pipeline(items)

    return retrying


def _translate(stage: str, error: BaseException) -> BaseException:
    """Convert to the project's errors. Of a remote exception only the cause is used: its own `str()` is a traceback."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    match cause:
        case MunjangError():
            return cause
        case BackPressureError():
            return Overloaded(RETRY_AFTER_S)
        case DeploymentUnavailableError() | TaskCancelledError():
            return StageUnavailable(stage)
    return StageUnavailable(stage) if isinstance(error, REPLICA_LOST) else error


def _raise_if_cancelled_here(error: BaseException) -> None:
    """Raise `error` if this task is being cancelled. A dying replica also makes its calls raise CancelledError."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
