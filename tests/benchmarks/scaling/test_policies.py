from typing import Any

import pytest

from benchmarks.scaling.policies import Delays, Knative, Munjang, RayDefault, Sample, View
from deployments.autoscaling import ByWork


def view(now_s: float = 100.0, *, target: int = 1, running: int = 1, ongoing: float = 0.0, **more: Any) -> View:
    samples = [Sample(float(second), ongoing) for second in range(int(now_s) - 60, int(now_s) + 1)]
    return View(now_s, target, running, samples, **{"busy": {}, "waiting": []} | more)


def test_serve_changes_the_number_once_it_was_wanted_for_the_delay() -> None:
    delays = Delays(up_s=2.0, down_s=3.0)
    assert [delays.apply(5, view(now, target=1)) for now in (0, 1, 2)] == [1, 1, 5]
    assert [delays.apply(2, view(now, target=5, running=5)) for now in (3, 4, 5, 6)] == [5, 5, 5, 2]


def test_the_delay_begins_again_when_the_wish_stops() -> None:
    delays = Delays(up_s=2.0, down_s=3.0)
    assert [delays.apply(wish, view(now, target=1)) for now, wish in enumerate((5, 5, 1, 5, 5, 5))] == [
        1,
        1,
        1,
        1,
        1,
        5,
    ]


def test_a_factor_shortens_the_way_down() -> None:
    assert Delays(0.0, 0.0, down_factor=0.5).apply(2, view(target=10, running=10)) == 6


def test_ray_divides_the_ongoing_requests_by_their_target() -> None:
    assert RayDefault(Delays(0.0, 0.0)).decide(view(ongoing=21.0)) == 11


def test_knative_holds_the_utilization() -> None:
    assert Knative().decide(view(running=10, target=10, ongoing=7.0)) == 10


def test_knative_does_not_fall_during_a_panic() -> None:
    policy = Knative()
    assert policy.decide(view(100.0, running=1, ongoing=70.0)) == 100
    assert policy.decide(view(130.0, running=100, ongoing=1.0)) == 100
    assert policy.decide(view(170.0, running=100, ongoing=1.0)) == 50


@pytest.mark.parametrize(("waiting_s", "replicas"), [(0.0, 2), (100.0, 12)])
def test_the_real_policy_sees_busy_replicas_and_what_waits(waiting_s: float, replicas: int) -> None:
    seen = view(running=1, busy={0: [Sample(99.0, 1.0)]}, waiting=[Sample(99.0, waiting_s)])
    assert Munjang(Delays(0.0, 0.0), ByWork(target_delay_s=10.0)).decide(seen) == replicas
