from types import SimpleNamespace
from typing import Any

import pytest

from deployments.autoscaling import by_waiting_work


def wanted(busy: list[float], waiting_s: list[float], bounds: tuple[int, int] = (1, 100)) -> int:
    context: Any = SimpleNamespace(
        aggregated_metrics={"busy": dict(enumerate(busy)), "waiting_s": dict(enumerate(waiting_s))},
        capacity_adjusted_min_replicas=bounds[0],
        capacity_adjusted_max_replicas=bounds[1],
        policy_state={"kept": 1},
    )
    replicas, state = by_waiting_work(context)
    assert state == {"kept": 1}
    return replicas


@pytest.mark.parametrize(
    ("busy", "waiting_s", "replicas"),
    [
        ([0.0], [0.0], 1),
        ([0.5], [0.0], 1),
        ([1.0], [0.0], 2),
        ([1.0], [2.0], 6),
        ([1.0, 1.0], [2.0, 2.0], 11),
        ([0.1, 0.1, 0.1], [0.0, 0.0, 0.0], 1),
    ],
)
def test_replicas_follow_busy_time_and_waiting_work(busy: list[float], waiting_s: list[float], replicas: int) -> None:
    assert wanted(busy, waiting_s) == replicas


def test_replicas_stay_within_the_bounds() -> None:
    assert wanted([0.0], [0.0], (3, 9)) == 3
    assert wanted([1.0], [60.0], (3, 9)) == 9


def test_without_metrics_the_minimum_is_wanted() -> None:
    context: Any = SimpleNamespace(
        aggregated_metrics=None,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=9,
        policy_state=None,
    )
    assert by_waiting_work(context) == (1, {})
