"""What each process of a server is, and how much CPU time it has taken."""

import contextlib
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.processes import Tree

SCRIPTS = {  # what a process of Ray without a title of its own runs
    "gcs_server": "gcs_server",
    "raylet": "raylet",
    "dashboard/dashboard.py": "dashboard",
    "dashboard/agent.py": "dashboard agent",
    "runtime_env/agent/main.py": "runtime environment agent",
    "log_monitor.py": "log monitor",
    "autoscaler/_private/monitor.py": "autoscaler monitor",
    "default_worker.py": "worker without a task",
    "multiprocessing.forkserver": "dashboard forkserver",
    "multiprocessing.resource_tracker": "dashboard resource tracker",
    "serve run": "driver",
    "deployments serve": "launcher or driver",
    "deployments.worker_fork": "fork server",
    "haproxy": "HAProxy",
}


@dataclass(eq=False)
class Life:
    """What was seen of one process. Times are in seconds from the start of the server, `cpu_s` is CPU time."""

    process: psutil.Process
    appeared_s: float
    name: str = ""
    cpu_s: float = 0.0

    def look(self) -> None:
        """Update the name, which Ray changes when a worker gets its work, and the CPU time."""
        with contextlib.suppress(psutil.Error):
            times = self.process.cpu_times()
            self.name, self.cpu_s = name_of(self.process.cmdline()) or self.name, times.user + times.system


@dataclass
class Watch:
    """All processes of a server since its start."""

    tree: Tree
    began_s: float = field(default_factory=time.monotonic)
    lives: dict[psutil.Process, Life] = field(default_factory=dict)

    def look(self) -> None:
        """Look at all processes that are alive."""
        for process in self.tree.members():
            self.lives.setdefault(process, Life(process, time.monotonic() - self.began_s)).look()

    def alive(self) -> list[Life]:
        """The processes that have not ended."""
        return [life for life in self.lives.values() if life.process.is_running()]


def name_of(arguments: list[str]) -> str:
    """What a process is, from its command line: its title, the script of Ray that it runs, or its program."""
    line = " ".join(arguments)
    if title := re.match(r"(ray|munjang)(::|-dashboard)\S+", line):
        return title[0]
    found = next((name for script, name in SCRIPTS.items() if script in line), "")
    return found or (Path(arguments[0]).name if arguments else "")
