from subprocess import list2cmdline

import pytest

from deployments.workers import forking
from deployments.workers.forking import DEFAULT_WORKER, SCRIPT, forked_workers


def test_a_raylet_starts_workers_with_the_script_and_none_beforehand() -> None:
    workers = list2cmdline(["python", "setup_worker.py", DEFAULT_WORKER, "--node-ip-address=127.0.0.1"])
    command = ["raylet", f"--python_worker_command={workers}", "--num_prestart_python_workers=2", "--head"]
    changed = f"python setup_worker.py {list2cmdline([SCRIPT, DEFAULT_WORKER])} --node-ip-address=127.0.0.1"
    assert forked_workers(command) == [
        "raylet",
        f"--python_worker_command={changed}",
        "--num_prestart_python_workers=0",
        "--head",
    ]


def test_paths_with_spaces_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "DEFAULT_WORKER", "/a folder/default_worker.py")
    monkeypatch.setattr(forking, "SCRIPT", "/my clone/start.py")
    command = ["raylet", '--python_worker_command=python "/a folder/default_worker.py" --x']
    assert forked_workers(command)[1] == (
        '--python_worker_command=python "/my clone/start.py" "/a folder/default_worker.py" --x'
    )
