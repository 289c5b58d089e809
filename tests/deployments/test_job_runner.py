import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from deployments.job_runner import JobRunner
from deployments.settings import Settings


def job_runner_in(folder: Path) -> Any:
    """A job runner with handles that nobody answers."""
    plain: Any = JobRunner.func_or_class
    tasks = {task: (MagicMock(), MagicMock()) for task in ("sts", "cola", "qa")}
    return plain(Settings.model_validate({"jobs": {"folder": str(folder)}}), **tasks)


def test_a_job_runner_is_healthy_while_it_runs_and_unhealthy_once_it_has_ended(tmp_path: Path) -> None:
    async def live() -> None:
        runner = job_runner_in(tmp_path / "jobs")
        await runner.wake()
        runner.check_health()
        report = await runner.report()
        assert report["requests"] == 0
        runner._running.cancel()
        await asyncio.wait({runner._running})
        with pytest.raises(RuntimeError):
            runner.check_health()

    asyncio.run(live())
