from ray._private import ray_constants, services
from ray._private.node import Node

from deployments.local_ray import needed, needed_processes


def test_of_the_dashboard_only_some_parts_are_started() -> None:
    assert needed(["dashboard.py"], ray_constants.PROCESS_TYPE_DASHBOARD) == [
        "dashboard.py",
        "--modules-to-load=EventHead,ReportHead,ServeHead",
    ]


def test_other_processes_of_ray_are_started_as_they_are() -> None:
    assert needed(["gcs_server"], ray_constants.PROCESS_TYPE_GCS_SERVER) == ["gcs_server"]


def test_ray_starts_as_usual_afterwards() -> None:
    before = services.start_ray_process, Node.start_monitor
    with needed_processes():
        assert services.start_ray_process is not before[0]
    assert (services.start_ray_process, Node.start_monitor) == before
