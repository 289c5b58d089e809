import math
from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.scaling.cluster import Cluster, Outcome, Setup
from benchmarks.scaling.policies import View
from benchmarks.scaling.traces import Trace, poisson


@dataclass
class Fixed:
    """Wants a number of replicas that depends on the time only."""

    counts: dict[float, int]
    name: str = "fixed"
    report_s: float = 1.0

    def decide(self, view: View) -> int:
        return max((since, count) for since, count in self.counts.items() if since <= view.now_s)[1]


def trace(arrival_s: list[float], work_s: float = 1.0, end_s: float = 100.0, bulk: list[bool] | None = None) -> Trace:
    count = len(arrival_s)
    return Trace(
        "test",
        np.array(arrival_s),
        np.full(count, work_s),
        np.full(count, 10.0),
        np.array(bulk or [False] * count),
        end_s,
    )


def run(requests: Trace, counts: dict[float, int], start_s: float = 5.0) -> Outcome:
    return Cluster(requests, Fixed(counts), Setup(start_s=start_s, fewest=min(counts.values()))).run()


def constant(rate: float, seconds: float, work_s: float, seed: int = 1) -> Trace:
    made = poisson("constant", lambda time: np.full(len(time), rate), rate, seconds, seed)
    return Trace(made.name, made.arrival_s, np.full(len(made), work_s), made.deadline_s, made.bulk, seconds)


def test_requests_are_done_in_the_order_of_their_arrival() -> None:
    outcome = run(trace([0.0, 0.1, 0.2]), {0.0: 1})
    assert outcome.wait_s.tolist() == pytest.approx([0.0, 0.9, 1.8])
    assert outcome.done_s.tolist() == pytest.approx([1.0, 1.9, 2.8])


def test_bulk_requests_wait_for_interactive_ones() -> None:
    outcome = run(trace([0.0, 0.1, 0.2], bulk=[False, True, False]), {0.0: 1})
    assert outcome.done_s.tolist() == pytest.approx([1.0, 2.9, 1.8])


def test_every_request_is_done_once_while_replicas_start_and_stop() -> None:
    requests = constant(4.0, 400.0, 0.5)
    outcome = run(requests, {0.0: 4, 50.0: 9, 100.0: 3, 150.0: 12, 200.0: 2, 250.0: 8})
    done = np.isfinite(outcome.done_s)
    assert (outcome.done_s[done] - outcome.wait_s[done]).tolist() == pytest.approx([0.5] * int(done.sum()))
    assert done[requests.arrival_s < 390].all()


def test_a_single_replica_waits_as_an_m_d_1_queue() -> None:
    """The mean wait is rho x service / (2 x (1 - rho)) (Pollaczek-Khinchine)."""
    outcome = run(constant(0.7, 100_000.0, 1.0), {0.0: 1})
    waits = outcome.wait_s[np.isfinite(outcome.wait_s)]
    assert waits.mean() == pytest.approx(0.7 / (2 * 0.3), rel=0.1)


def test_a_new_replica_works_once_it_has_started() -> None:
    outcome = run(trace([10.0] * 4, work_s=20.0), {0.0: 1, 12.0: 2}, start_s=5.0)
    assert sorted(outcome.wait_s.tolist()) == pytest.approx([0.0, 7.0, 20.0, 27.0])


def test_replica_seconds_count_from_the_order_to_the_end() -> None:
    outcome = run(trace([]), {0.0: 1, 10.0: 3, 60.0: 1}, start_s=5.0)
    assert outcome.replica_s == pytest.approx(100 + 2 * 50)
    assert (outcome.replicas.min(), outcome.replicas.max()) == (1, 3)


def test_a_busy_replica_finishes_its_request_before_it_stops() -> None:
    outcome = run(trace([8.0, 8.0], work_s=30.0), {0.0: 1, 1.0: 2, 10.0: 1})
    assert outcome.done_s.tolist() == pytest.approx([30.0, 30.0])
    assert outcome.replica_s == pytest.approx(100 + (38 - 1))


def test_requests_that_no_replica_reaches_are_never_done() -> None:
    assert math.isinf(run(trace([0.0, 0.0], work_s=200.0), {0.0: 1}).done_s[1])


def test_equal_seeds_give_equal_results() -> None:
    first, second, other = (run(constant(3.0, 300.0, 0.9, seed), {0.0: 3, 100.0: 4}) for seed in (1, 1, 2))
    assert first.wait_s.tolist() == second.wait_s.tolist()
    assert len(first.wait_s) != len(other.wait_s) or first.wait_s.tolist() != other.wait_s.tolist()
