"""A node whose processes all die at once, with a spare one of its pool beside it."""

import time
from contextlib import ExitStack

import pytest

from tests.cluster.loads import MOVED_S, is_complete, load, report_loads
from tests.cluster.network import wait_until
from tests.cluster.nodes import Cluster
from tests.faults.conftest import Report
from tests.faults.open_loop import all_good

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("pool", ["gpu", "cpu"])
def test_requests_are_answered_when_a_node_is_lost_and_its_replicas_start_elsewhere(
    nodes: Cluster, report: Report, pool: str
) -> None:
    spare = nodes.add(f"{pool}3")
    wait_until(lambda: spare.is_alive() and is_complete(nodes), MOVED_S, "a complete graph")
    with ExitStack() as stack:
        raw = stack.enter_context(load(nodes.head.url))
        retried = stack.enter_context(load(nodes.head.url, retries=1))
        raw[0].wait_for(20)
        killed_s = time.monotonic()
        nodes.workers.pop(f"{pool}2").machine.kill()
        wait_until(lambda: is_complete(nodes), MOVED_S, "all replicas")
        complete_s = time.monotonic() - killed_s
        raw[0].wait_for(50)
    report_loads(report, raw, complete_after_s=round(complete_s, 1))
    report_loads(report, retried)
    outcomes = [outcome for one in raw for outcome in one.outcomes]
    assert sum(outcome.status == 200 and outcome.own for outcome in outcomes) >= 0.99 * len(outcomes)
    assert all(all_good(one.outcomes) for one in retried)
