import asyncio

import pytest

from benchmarks.replicas import States, Watch, changes, first_time, has, most_running, states_in

ONE: States = {"Encoder": {"RUNNING": 1}}
TWO: States = {"Encoder": {"RUNNING": 2}}
STARTING: States = {"Encoder": {"RUNNING": 1, "STARTING": 1}}
SAMPLES = [(1.0, ONE), (2.0, STARTING), (3.0, STARTING), (4.0, TWO), (5.0, ONE)]


def test_states_are_counted_by_deployment() -> None:
    replicas = [{"state": "RUNNING"}, {"state": "STARTING"}, {"state": "RUNNING"}]
    deployments = {"Encoder": {"replicas": replicas}, "Tokenizer": {"replicas": []}}
    details = {"applications": {"munjang": {"deployments": deployments}}}
    assert states_in(details) == {"Encoder": {"RUNNING": 2, "STARTING": 1}, "Tokenizer": {}}


def test_only_changes_are_named() -> None:
    assert [(at_s, replicas) for at_s, _, replicas in changes(SAMPLES)] == [
        (1.0, {"RUNNING": 1}),
        (2.0, {"RUNNING": 1, "STARTING": 1}),
        (4.0, {"RUNNING": 2}),
        (5.0, {"RUNNING": 1}),
    ]


def test_a_replica_that_starts_is_not_counted_as_one_that_runs() -> None:
    assert first_time(SAMPLES, has(2, "Encoder"), 0.0) == 4.0
    assert first_time(SAMPLES, has(1, "Encoder"), 1.5) == 5.0
    assert first_time(SAMPLES, has(3, "Encoder"), 0.0) is None
    assert most_running(SAMPLES, "Encoder") == 2


def test_a_deployment_without_replicas_has_none() -> None:
    assert has(0, "Encoder")({"Encoder": {}})
    assert not has(0, "Encoder")({"Encoder": {"STOPPING": 1}})


def test_watching_waits_for_a_state_that_comes() -> None:
    async def scenario() -> None:
        answers = iter([ONE, STARTING])
        async with Watch(lambda: next(answers, TWO)).on() as watch:
            at_s = await watch.until(has(2, "Encoder"), within_s=30.0)
            assert watch.samples[-1] == (at_s, TWO)

    asyncio.run(scenario())


def test_watching_ends_where_the_state_does_not_come() -> None:
    async def scenario() -> None:
        async with Watch(lambda: ONE).on() as watch:
            with pytest.raises(TimeoutError):
                await watch.until(has(2, "Encoder"), within_s=0.05)

    asyncio.run(scenario())
