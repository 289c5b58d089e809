import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator

import pytest

from deployments.calls.without_messages import stream_without_messages, without_messages
from pipelines.errors import CheckpointMismatch, StageFailed

SECRET = "canary-5f3a"


class Stage:
    @without_messages
    async def run(self, error: Exception | None) -> str:
        if error is not None:
            raise error
        return "result"

    @stream_without_messages
    async def stream(self, error: Exception | None) -> AsyncGenerator[str]:
        yield "first"
        if error is not None:
            raise error


async def collect(stage: Stage, error: Exception | None) -> list[str]:
    return [piece async for piece in stage.stream(error)]


def test_results_are_passed_on() -> None:
    assert asyncio.run(Stage().run(None)) == "result"
    assert asyncio.run(collect(Stage(), None)) == ["first"]


def test_an_error_of_the_project_is_passed_on_without_a_log_entry(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CheckpointMismatch):
        asyncio.run(Stage().run(CheckpointMismatch("a", "b")))
    assert caplog.text == ""


@pytest.mark.parametrize("call", [Stage.run, collect])
def test_the_words_of_an_unexpected_error_are_neither_raised_nor_logged(
    call: object, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        await (Stage().run(ValueError(SECRET)) if call is Stage.run else collect(Stage(), ValueError(SECRET)))

    logging.getLogger("ray.serve").addHandler(caplog.handler)
    try:
        with pytest.raises(StageFailed) as raised:
            asyncio.run(fail())
    finally:
        logging.getLogger("ray.serve").removeHandler(caplog.handler)
    told = "".join(traceback.format_exception(raised.value))
    assert "ValueError" in told
    assert "ValueError" in caplog.text
    assert SECRET not in told + caplog.text
