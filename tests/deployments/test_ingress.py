import asyncio
from typing import Any
from unittest.mock import MagicMock

import pytest

from deployments.autoscaling import TASKS
from deployments.calls.group_commit import GroupCommit
from deployments.ingress import CALLS_PER_MODEL, Ingress
from deployments.settings import Settings


def test_the_ingress_reports_the_work_that_waits_for_each_model(monkeypatch: pytest.MonkeyPatch) -> None:
    pair: Any = (MagicMock(), MagicMock())
    _, plain, *_ = Ingress.func_or_class.__mro__  # the class that Serve wraps
    ingress = plain(Settings(), sts=pair, cola=pair, qa=pair, chat=MagicMock())
    assert asyncio.run(ingress.record_autoscaling_stats()) == dict.fromkeys([model for _, model in TASKS], 0.0)
    monkeypatch.setattr(GroupCommit, "waiting_s", 3.0)
    report = asyncio.run(ingress.record_autoscaling_stats())
    assert report["QaExtractor"] == 3.0 / CALLS_PER_MODEL
    assert report["StsEncoder"] == 6.0 / CALLS_PER_MODEL
