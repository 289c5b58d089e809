import asyncio
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from deployments.autoscaling import TASKS
from deployments.calls.group_commit import GroupCommit
from deployments.ingress import CALLS_PER_MODEL, Ingress
from deployments.readiness import Readiness, States
from deployments.settings import Settings


def ingress_with(settings: Settings, **models: Any) -> Any:
    """An ingress with these handles of models."""
    _, plain, *_ = Ingress.func_or_class.__mro__  # the class that Serve wraps
    pairs = {task: (MagicMock(), models.get(task, MagicMock())) for task in ("sts", "cola", "qa")}
    return plain(settings, **pairs, chat=models.get("chat", MagicMock()), job_runner=MagicMock())


def model(name: str) -> Any:
    """A handle of the deployment, whose `info` is its name."""
    handle = MagicMock(deployment_name=name)
    handle.info.remote = AsyncMock(return_value={"name": name})
    return handle


def test_info_leaves_out_a_task_that_sleeps_and_asks_those_of_which_nothing_is_known() -> None:
    models = {"sts": model("StsEncoder"), "cola": model("ColaClassifier"), "qa": model("QaExtractor")}
    settings = Settings.model_validate({"sts": {"threshold": 0.7}, "qa": {"null_threshold": 2.0}})
    ingress = ingress_with(settings, **models, chat=model("PersonaChat"))
    states: States = {"StsEncoder": "running", "ColaClassifier": "missing", "QaExtractor": "asleep"}
    ingress._readiness = Readiness(lambda: states)
    assert asyncio.run(ingress.describe()) == {
        "sts": {"name": "StsEncoder", "threshold": 0.7},
        "cola": {"name": "ColaClassifier"},
        "chat": {"name": "PersonaChat"},
    }


def test_a_task_that_sleeps_is_ready() -> None:
    ingress = ingress_with(Settings())
    states: States = {"StsEncoder": "running", "ColaClassifier": "missing", "QaExtractor": "asleep"}
    ingress._readiness = Readiness(lambda: states)
    assert asyncio.run(ingress.readiness()) == {"StsEncoder": True, "ColaClassifier": False, "QaExtractor": True}


def test_the_ingress_reports_the_work_that_waits_for_each_model(monkeypatch: pytest.MonkeyPatch) -> None:
    ingress = ingress_with(Settings())
    assert asyncio.run(ingress.record_autoscaling_stats()) == dict.fromkeys([model for _, model in TASKS], 0.0)
    monkeypatch.setattr(GroupCommit, "waiting_s", 3.0)
    report = asyncio.run(ingress.record_autoscaling_stats())
    waiting = {model: len(lists) for model, lists in ingress._waiting.items()}
    assert min(waiting.values()) > 1
    assert report == {model: 3.0 * number / CALLS_PER_MODEL for model, number in waiting.items()}
