import pytest

from benchmarks.watch import name_of


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("ray::ServeReplica:munjang:StsEncoder", "ray::ServeReplica:munjang:StsEncoder"),
        ("munjang::WorkerForks", "munjang::WorkerForks"),
        ("ray-dashboard-ServeHead-0 (python -c main)", "ray-dashboard-ServeHead-0"),
        ("/bin/python -u /lib/ray/dashboard/agent.py --node-ip-address=127.0.0.1", "dashboard agent"),
        ("/lib/ray/core/src/ray/raylet/raylet --session_dir=/tmp", "raylet"),
        ("/usr/bin/sleep 3", "sleep"),
        ("", ""),
    ],
)
def test_a_process_has_its_title_or_the_name_of_what_it_runs(line: str, name: str) -> None:
    assert name_of(line.split()) == name
