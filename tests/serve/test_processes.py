"""The processes of a server: those that it needs, and no more."""

import os
import stat

import pytest

from deployments.local_ray import MODULES
from deployments.workers.fork_server import TITLE
from tests.serve.server import Server

pytestmark = pytest.mark.serve


def test_ray_runs_only_what_a_server_needs(server: Server) -> None:
    titles = [" ".join(process.cmdline()) for process in server.processes()]
    parts = {title.split()[0] for title in titles if title.startswith("ray-dashboard")}
    assert parts == {f"ray-dashboard-{name}-0" for name in MODULES}
    assert not any("autoscaler/_private/monitor.py" in title for title in titles)


def test_replicas_and_the_controller_are_forks_of_one_process(server: Server) -> None:
    controllers = [process for process in server.processes() if "ray::ServeController" in process.cmdline()[0]]
    assert len(controllers) == 1
    for process in [*controllers, *server.replicas()]:
        parent = process.parent()
        assert parent is not None
        assert parent.cmdline()[0] == TITLE
        assert os.getpgid(process.pid) == process.pid  # Ray ends the whole group of a worker


def test_only_the_servers_user_can_ask_for_forks(server: Server) -> None:
    assert stat.S_IMODE((server.session() / "sockets" / "fork_server").stat().st_mode) == 0o600
