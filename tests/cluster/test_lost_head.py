"""The head and Ray's control plane on it die, and come back with the state that Redis kept, as under KubeRay."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.conftest import KINDS
from tests.cluster.loads import MOVED_S, load, report_loads
from tests.cluster.network import Network, is_open, wait_until, why_not
from tests.cluster.nodes import Cluster, cluster, gpu_config
from tests.conftest import MakeCheckpoint
from tests.faults.conftest import Report
from tests.faults.open_loop import all_good

pytestmark = pytest.mark.cluster

PORT = 6390
AWAY_REQUESTS = 10 * 40  # the head is away for 40 s


@pytest.fixture
def nodes(tmp_path: Path, imported: MakeCheckpoint) -> Iterator[Cluster]:
    """One worker of each pool, and a head whose control plane keeps its state in Redis."""
    program, reason = shutil.which("redis-server"), why_not()
    if reason or program is None:
        pytest.skip(reason or "redis-server is not installed")

    def redis(network: Network) -> dict[str, str]:
        command = [program, "--port", str(PORT), "--bind", network.outside, "--save", "", "--dir", str(tmp_path)]
        command += ["--protected-mode", "no"]
        process = processes.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        processes.callback(process.kill)
        wait_until(lambda: is_open(network.outside, PORT), 10, "Redis listens")
        # KubeRay gives nodes 600 s instead of 60 to find the control plane again.
        return {"RAY_REDIS_ADDRESS": f"{network.outside}:{PORT}", "RAY_gcs_rpc_server_reconnect_timeout_s": "600"}

    config = gpu_config(tmp_path, {task: imported(kind) for task, kind in KINDS.items()}, most=1)
    with ExitStack() as processes, cluster(tmp_path, config, "cpu1", "gpu1", variables=redis) as started:
        yield started


def test_no_request_to_a_worker_fails_while_the_head_is_away_and_replicas_are_replaced_when_it_is_back(
    nodes: Cluster, report: Report
) -> None:
    worker, machine = nodes.workers["cpu1"], nodes.head.machine
    before = nodes.replicas()
    wait_until(lambda: worker.answers("/readyz"), 30, "the worker's HAProxy, which started after the head's, is ready")
    with load(worker.url) as loads:
        loads[0].wait_for(20)
        machine.kill()
        machine.wipe()
        loads[0].wait_for(AWAY_REQUESTS)
        nodes.start_head(machine)
        loads[0].wait_for(100)
        assert nodes.replicas() == before
    report_loads(report, loads)
    assert all(all_good(one.outcomes) for one in loads)
    victim = next(one for one in nodes.workers["gpu1"].machine.processes() if one.cmdline()[0].endswith("StsEncoder"))
    victim.kill()
    replaced_s = wait_until(lambda: not victim.is_running() and nodes.replicas() == before, MOVED_S, "a new replica")
    report(replaced_after_s=round(replaced_s, 1))
