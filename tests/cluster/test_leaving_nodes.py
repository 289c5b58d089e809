"""A worker that is told to end, as Kubernetes does with a pod. Its replicas move, and no request fails."""

import time

import pytest

from tests.cluster.loads import MOVED_S, is_complete, load, report_loads
from tests.cluster.network import wait_until
from tests.cluster.nodes import Cluster
from tests.faults.conftest import Report
from tests.faults.open_loop import all_good

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("pool", ["cpu", "gpu"])
def test_no_request_fails_when_a_node_is_added_and_another_leaves_with_grace(
    nodes: Cluster, report: Report, pool: str
) -> None:
    old, new = f"{pool}2", f"{pool}3"
    leaving = nodes.workers[old]
    with load(nodes.head.url) as loads:
        loads[0].wait_for(20)
        nodes.add(new)
        wait_until(nodes.workers[new].is_alive, MOVED_S, "the new node")
        told_s = time.monotonic()
        leaving.leave()
        wait_until(lambda: not leaving.is_alive(), MOVED_S, "the old node is gone")
        left_s = time.monotonic() - told_s
        del nodes.workers[old]
        wait_until(lambda: is_complete(nodes), MOVED_S, "all replicas")
        loads[0].wait_for(50)
    report_loads(report, loads, left_after_s=round(left_s, 1))
    assert all(all_good(one.outcomes) for one in loads)
