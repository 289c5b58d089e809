import math
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.serve.config import AutoscalingPolicy

from deployments import autoscaling
from deployments.autoscaling import INGRESS, LEAST_IDLE, TASKS, ByWork, Load, take_cores
from deployments.graph import SCALING

TOKENIZER, MODEL = TASKS[0]
SHARES = st.floats(0, 1)
SECONDS = st.floats(0, 1e4)


def series(*values: float) -> list[Any]:
    return [SimpleNamespace(timestamp=float(second), value=value) for second, value in enumerate(values)]


def report(
    busy: float = 0.0, waiting_s: float = 0.0, *, cores: float = 0.0, idle: float = 0.0, node: float = 1.0
) -> dict[str, list[Any]]:
    values = {"busy": busy, "waiting_s": waiting_s, "cores": cores, "idle_cores": idle, "node": node}
    return {name: series(value) for name, value in values.items()}


def context(
    name: str,
    reports: list[dict[str, list[Any]]] | None = None,
    *,
    requests: float = 0.0,
    bounds: tuple[int, int] = (0, 1000),
    running: int | None = None,
    starting: int = 0,
    raw: dict[str, dict[int, list[Any]]] | None = None,
) -> Any:
    reports = reports or []
    by_metric = {name: {replica: one[name] for replica, one in enumerate(reports)} for one in reports for name in one}
    running = len(reports) if running is None else running
    return SimpleNamespace(
        deployment_name=name,
        current_num_replicas=running,
        target_num_replicas=running + starting,
        total_num_requests=requests,
        raw_metrics=by_metric if raw is None else raw,
        capacity_adjusted_min_replicas=bounds[0],
        capacity_adjusted_max_replicas=bounds[1],
        config=SimpleNamespace(get_target_ongoing_requests=lambda: 16.0),
    )


def decide(*contexts: Any, policy: ByWork | None = None) -> dict[str, int]:
    decisions, state = (policy or ByWork())({one.deployment_name: one for one in contexts})
    assert state is None
    return decisions


def wanted(reports: list[dict[str, list[Any]]], **options: Any) -> int:
    return decide(context(MODEL, reports, **options))[MODEL]


def test_replicas_are_busy_for_the_target_share_of_time() -> None:
    assert wanted([report(busy=0.8)]) == 1
    assert wanted([report(busy=0.81)]) == 2
    assert wanted([report(busy=1.0)] * 8) == 10


def test_waiting_work_is_done_within_the_target_delay() -> None:
    policy = ByWork(target_delay_s=4.0)
    assert policy.replicas(Load(offered=0.0, waiting_s=40.0, cores=0.0)) == 10
    assert policy.replicas(Load(offered=0.8, waiting_s=40.0, cores=0.0)) == 11


def test_work_beyond_the_capacity_of_busy_replicas_is_seen_by_the_growth_of_what_waits() -> None:
    full = report(busy=1.0) | {"waiting_s": series(0.0, 3.0, 6.0)}
    assert autoscaling.load_of([full]) == Load(offered=4.0, waiting_s=6.0, cores=0.0)


def test_work_that_waits_at_the_ingress_counts_for_its_model() -> None:
    ingress = context(INGRESS, raw={MODEL: {0: series(30.0), 1: series(10.0)}}, requests=1)
    policy = ByWork(target_delay_s=4.0)
    assert decide(context(MODEL, [report()]), ingress, policy=policy)[MODEL] == 10


def test_without_reports_a_deployment_has_its_fewest_replicas() -> None:
    assert wanted([], bounds=(1, 9)) == 1
    assert wanted([], bounds=(1, 9), raw={"busy": {0: []}}) == 1


def test_a_task_without_work_goes_to_zero_and_its_deployments_start_together() -> None:
    assert decide(context(TOKENIZER), context(MODEL, [report()])) == {TOKENIZER: 0, MODEL: 0}
    assert decide(context(TOKENIZER, requests=1), context(MODEL)) == {TOKENIZER: 1, MODEL: 1}
    assert decide(context(TOKENIZER), context(MODEL, requests=1)) == {TOKENIZER: 1, MODEL: 1}


def test_tokenizers_and_ingress_keep_up_with_the_models_though_few_requests_are_ongoing() -> None:
    policy = ByWork(models_per_tokenizer=4, models_per_ingress=2)
    decisions = decide(
        context(TOKENIZER, requests=1),
        context(MODEL, [report(busy=1.0)] * 8),
        context(INGRESS, requests=1),
        policy=policy,
    )
    assert decisions == {TOKENIZER: 3, MODEL: 10, INGRESS: 5}


def test_other_deployments_follow_their_requests() -> None:
    assert decide(context("PersonaChat", requests=33)) == {"PersonaChat": 3}


def test_a_replica_that_reserved_its_cores_does_not_limit_others() -> None:
    assert wanted([report(busy=1.0, cores=0.0, idle=0.0)] * 8) == 10


def test_no_replica_is_added_where_no_core_is_idle() -> None:
    assert wanted([report(busy=1.0, waiting_s=100.0, cores=2.0, idle=0.1)]) == 1
    assert wanted([report(busy=1.0, waiting_s=100.0, cores=2.0, idle=4.5)]) == 3


def test_idle_cores_of_a_node_count_once_and_those_of_several_nodes_together() -> None:
    assert wanted([report(busy=1.0, waiting_s=100.0, cores=2.0, idle=4.0)] * 2) == 4
    nodes = [report(busy=1.0, waiting_s=100.0, cores=2.0, idle=2.5, node=node) for node in (1.0, 2.0)]
    assert wanted(nodes) == 4


def test_cores_that_idle_replicas_will_use_are_not_given_again() -> None:
    idle, busy = report(busy=0.0, cores=1.0, idle=3.0), report(busy=1.0, waiting_s=100.0, cores=1.0, idle=3.0)
    assert wanted([busy, idle, idle]) == 4
    assert wanted([busy, idle], running=3) == 4  # the third has started but not reported yet


def test_tasks_that_nobody_uses_keep_no_cores() -> None:
    models = [context(model, [report(cores=2.0, idle=2.5)]) for _, model in TASKS[1:]]
    assert decide(context(MODEL, [report(busy=1.0, waiting_s=9.0, cores=2.0, idle=2.5)]), *models)[MODEL] == 2


def test_a_task_that_has_just_got_work_keeps_its_cores() -> None:
    other = context(TASKS[1][1], [report(cores=2.0, idle=2.5) | {"waiting_s": series(0.0, 9.0)}])
    loaded = context(MODEL, [report(busy=1.0, waiting_s=100.0, cores=2.0, idle=2.5)])
    assert decide(loaded, other)[MODEL] == 1


def test_a_replica_needs_two_fifths_of_its_cores() -> None:
    assert wanted([report(busy=1.0, waiting_s=100.0, cores=1.0, idle=0.39)]) == 1
    assert wanted([report(busy=1.0, waiting_s=100.0, cores=1.0, idle=0.41)]) == 2
    assert wanted([report(busy=1.0, waiting_s=100.0, cores=2.0, idle=2.9)]) == 3


def test_cores_that_were_idle_before_a_step_are_not_given() -> None:
    stepped = report(busy=1.0, waiting_s=100.0, cores=1.0) | {"idle_cores": series(1.9, 1.9, 1.9, 0.2)}
    assert wanted([stepped]) == 1


def test_cores_that_are_idle_for_a_moment_are_not_given() -> None:
    for_a_moment = report(busy=1.0, waiting_s=100.0, cores=1.0) | {"idle_cores": series(0.1, 0.1, 0.1, 0.9)}
    assert wanted([for_a_moment]) == 1


def test_two_models_do_not_get_the_same_idle_core() -> None:
    other = TASKS[1][1]
    decisions = decide(
        context(MODEL, [report(busy=1.0, waiting_s=5.0, cores=1.0, idle=1.0)]),
        context(other, [report(busy=1.0, waiting_s=9.0, cores=1.0, idle=1.0)]),
    )
    assert decisions == {MODEL: 1, other: 2}


def test_cores_of_a_replica_that_is_starting_are_not_given_to_another_model() -> None:
    other = TASKS[1][1]
    decisions = decide(
        context(MODEL, [report(busy=1.0, waiting_s=5.0, cores=1.0, idle=1.0)], starting=1),
        context(other, [report(busy=1.0, waiting_s=9.0, cores=1.0, idle=1.0)]),
    )
    assert decisions == {MODEL: 2, other: 1}


def test_serve_gets_the_policy_by_value_and_with_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"target_delay_s": 3.0}
    policy = AutoscalingPolicy(policy_function="deployments.autoscaling:ByWork", policy_kwargs=settings)
    monkeypatch.setitem(sys.modules, "deployments.autoscaling", None)  # importing it again would fail
    made = policy.get_policy()(**policy.policy_kwargs)
    assert made({MODEL: context(MODEL, [report(waiting_s=30.0)])}) == ({MODEL: 10}, None)


def test_serve_scales_up_within_seconds_and_down_after_more_than_a_minute() -> None:
    assert SCALING["upscale_delay_s"] <= 5
    assert SCALING["downscale_delay_s"] >= 60


REPORTS = st.lists(
    st.builds(report, SHARES, SECONDS, cores=st.floats(0, 8), idle=st.floats(0, 64), node=st.sampled_from([1.0, 2.0])),
    max_size=8,
)
BOUNDS = st.tuples(st.integers(0, 5), st.integers(5, 50))


@given(REPORTS, REPORTS, BOUNDS, st.floats(0, 1000), st.integers(0, 20))
def test_decisions_are_within_the_bounds(
    first: Any, second: Any, bounds: tuple[int, int], requests: float, running: int
) -> None:
    names = (*TASKS[0], *TASKS[1], INGRESS, "PersonaChat")
    reports = {TASKS[0][1]: first, TASKS[1][1]: second}
    contexts = [context(name, reports.get(name), requests=requests, bounds=bounds, running=running) for name in names]
    decisions = decide(*contexts)
    assert set(decisions) == set(names)
    assert all(type(count) is int and bounds[0] <= count <= bounds[1] for count in decisions.values())


@given(st.lists(st.tuples(SHARES, SECONDS), min_size=1, max_size=8), SHARES, SECONDS)
def test_more_work_never_takes_fewer_replicas(loads: list[tuple[float, float]], busy: float, waiting_s: float) -> None:
    before = wanted([report(*load) for load in loads])
    assert wanted([report(*load) for load in [*loads, (busy, waiting_s)]]) >= before


@given(REPORTS)
def test_added_replicas_use_no_more_cores_than_are_idle(reports: list[dict[str, list[Any]]]) -> None:
    reports = [one | {"cores": series(2.0)} for one in reports]
    share = ByWork().share_busy(autoscaling.load_of(reports), len(reports))
    idle = autoscaling.idle_cores([(reports, share)])
    added = wanted(reports) - len(reports)
    if reports and added > 0:
        lent = 2.0 * (1 - LEAST_IDLE)
        assert 2.0 * added <= sum(max(0.0, cores + lent) for cores in idle.values()) + 1e-3


@given(st.integers(0, 100), st.floats(0.1, 8), st.dictionaries(st.integers(), st.floats(-8, 64), max_size=5))
def test_cores_that_are_taken_are_gone(replicas: int, cores: float, idle: dict[float, float]) -> None:
    left = dict(idle)
    taken = take_cores(replicas, cores, left)
    assert 0 <= taken <= replicas
    assert math.isclose(sum(idle.values()) - sum(left.values()), taken * cores, abs_tol=1e-6)
    assert all(left[node] >= min(idle[node], -cores * (1 - LEAST_IDLE) - 1e-4) for node in idle)


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_the_deployments_does_not_matter(order: int) -> None:
    contexts = [context(TOKENIZER, requests=40), context(MODEL, [report(busy=1.0)] * 9), context(INGRESS, requests=3)]
    assert decide(*contexts[::order]) == {TOKENIZER: 3, MODEL: 12, INGRESS: 12}
