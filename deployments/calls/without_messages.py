"""Keep callers' words out of Serve's logs.

Serve logs the traceback of every exception that leaves a method of a deployment, with its message, and a library's
message may quote the text that it failed on.
"""

import functools
import logging
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import ParamSpec, TypeVar

from pipelines.errors import MunjangError, StageFailed

logger = logging.getLogger("ray.serve")

P = ParamSpec("P")
R = TypeVar("R")


def without_messages(method: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Wrap a method: unexpected errors are logged without their message, and StageFailed is raised in their place."""

    @functools.wraps(method)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await method(*args, **kwargs)
        except Exception as error:
            failure = _failure(method.__qualname__, error)
        raise failure

    return wrapped


def stream_without_messages(method: Callable[P, AsyncGenerator[R]]) -> Callable[P, AsyncGenerator[R]]:
    """The same for a method that yields its results."""

    @functools.wraps(method)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R]:
        try:
            async for result in method(*args, **kwargs):
                yield result
            return
        except Exception as error:
            failure = _failure(method.__qualname__, error)
        raise failure

    return wrapped


def log_failure(what: str, error: BaseException) -> None:
    """Log the type and the places of an error, but not its message."""
    places = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s failed: %s\n%s", what, type(error).__name__, places)


def _failure(method: str, error: Exception) -> MunjangError:
    """The error to raise. It is raised outside of the handler, so that it has no context, which Serve would log."""
    if isinstance(error, MunjangError):
        return error
    log_failure(method, error)
    return StageFailed(method, type(error).__name__)
