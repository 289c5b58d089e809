from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.autoscaling import by_waiting_work
from deployments.room import UNLIMITED


def wanted(
    busy: list[float],
    waiting_s: list[float],
    bounds: tuple[int, int] = (1, 100),
    room: list[float] | None = None,
    target: int = 1,
) -> int:
    """What the policy wants; without `room`, the replicas reserve what they use."""
    reports = {"busy": busy, "waiting_s": waiting_s, "room": room or [UNLIMITED] * len(busy)}
    context: Any = SimpleNamespace(
        aggregated_metrics={name: dict(enumerate(values)) for name, values in reports.items()},
        current_num_replicas=len(busy),
        target_num_replicas=target,
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


@pytest.mark.parametrize(
    ("running", "room", "target", "replicas"),
    [
        ([1.0], [0.0], 1, 1),
        ([1.0], [1.0], 1, 2),
        ([1.0], [1.9], 1, 2),  # averaged over several reports
        ([1.0], [0.0], 2, 2),  # the second one starts, and takes the idle cores
        ([1.0, 1.0], [3.0, 3.0], 2, 5),  # both on one node
        ([1.0, 1.0], [0.0, 2.0], 2, 4),
    ],
)
def test_no_more_replicas_are_added_than_the_nodes_can_carry(
    running: list[float], room: list[float], target: int, replicas: int
) -> None:
    assert wanted(running, [100.0] * len(running), room=room, target=target) == replicas


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1e6), st.floats(0, UNLIMITED)), min_size=1, max_size=20),
    st.integers(1, 50),
    st.integers(0, 50),
)
def test_more_work_never_means_fewer_replicas_and_bounds_are_kept(
    reports: list[tuple[float, float, float]], least: int, more: int
) -> None:
    busy, waiting_s, room = (list(values) for values in zip(*reports, strict=True))
    bounds = (least, least + more)
    replicas = wanted(busy, waiting_s, bounds, room, target=len(busy))
    assert least <= replicas <= least + more
    assert replicas <= max(least, len(busy) + max(room))
    assert wanted([1.0] * len(busy), [one + 1 for one in waiting_s], bounds, room, target=len(busy)) >= replicas


def test_without_metrics_the_minimum_is_wanted() -> None:
    context: Any = SimpleNamespace(
        aggregated_metrics=None,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=9,
        policy_state=None,
    )
    assert by_waiting_work(context) == (1, {})
