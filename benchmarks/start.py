"""Start Munjang servers one after the other, and report the time until each is ready, and what it takes while idle.

    python -m benchmarks.start --runs 3 --idle 60
    python -m benchmarks.start --environment RAY_SERVE_CONTROL_LOOP_INTERVAL_S=1

Prints one JSON line for each start, and for the last one a line for each process: when it appeared, in seconds from the
start, and until then and afterwards

cpu_s      seconds of CPU time that it had taken when the server was ready
idle       its share of one core while nobody asked anything, over `--idle` seconds
pss_mib    its proportional set size (PSS) at the end of these: private memory, and its share of what processes share

Processes that ended before the server was ready are in the line of the start: their CPU time as it was seen last.
"""

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import yaml

from benchmarks.processes import MIB, Command, ServerFailed, Tree, answers, refuse_taken
from benchmarks.servers import OWN_CLUSTER
from benchmarks.watch import Watch
from pipelines.checkpoints.resolve import ROOT

EVERY_S = 0.2
SETTLED_S = 15.0  # from the readiness on, until the idle time is measured
START_S = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds; 0: start and stop only")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--environment", nargs="*", default=[], metavar="NAME=VALUE", help="variables of the server")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the server (%(default)s)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server is left
    environment = OWN_CLUSTER | dict(pair.split("=", 1) for pair in arguments.environment)
    for run in range(arguments.runs):
        with TemporaryDirectory() as scratch:
            command = munjang(arguments.python, Path(scratch), arguments.port, environment)
            measure(command, Path(scratch), arguments.port, arguments.idle, show_processes=run == arguments.runs - 1)


def munjang(python: str, scratch: Path, port: int, environment: dict[str, str]) -> Command:
    """Start as `make serve` does; the chat's stores are those of the folder, so that the sample store is there."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    config["applications"][0]["args"]["jobs"] = {"folder": str(scratch / "jobs")}
    path = scratch / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return Command([python, "-m", "deployments", "serve", str(path)], ROOT, environment)


def measure(command: Command, scratch: Path, port: int, idle_s: float, *, show_processes: bool) -> None:
    """Print the lines of one start. Raises ServerFailed."""
    url = f"http://127.0.0.1:{port}/readyz"
    refuse_taken(url)
    with (scratch / "log").open("wb") as output:
        tree = Tree(command.start(output))
        try:
            watch = Watch(tree)
            ready_s = wait(watch, url, scratch / "log")
            alive = watch.alive()
            ended_s = sum(life.cpu_s for life in watch.lives.values() if life not in alive)
            line = {"ready_s": ready_s, "cpu_s": ended_s + sum(life.cpu_s for life in alive), "ended_cpu_s": ended_s}
            processes = list(idle(watch, idle_s)) if idle_s else []
            line |= {"processes": len(processes)}
            line |= {key: sum(each[key] for each in processes) for key in ("idle", "pss_mib") if processes}
            show(line)
            for each in processes if show_processes else []:
                show(each)
        finally:
            tree.end()


def wait(watch: Watch, url: str, log: Path) -> float:
    """The seconds until /readyz answers 200. Raises ServerFailed where that takes too long."""
    while not answers(url):
        watch.look()
        seconds = time.monotonic() - watch.began_s
        if watch.tree.process.poll() is not None or seconds > START_S:
            raise ServerFailed(log.read_text(encoding="utf-8", errors="replace")[-1500:])
        time.sleep(EVERY_S)
    ready_s = time.monotonic() - watch.began_s
    watch.look()
    return ready_s


def idle(watch: Watch, seconds: float) -> Iterator[dict[str, str | float]]:
    """What each process takes while nobody asks anything."""
    until_ready = {life.process: life.cpu_s for life in watch.alive()}
    time.sleep(SETTLED_S)
    watch.look()
    before = {life.process: life.cpu_s for life in watch.alive()}
    began_s = time.monotonic()
    time.sleep(seconds)
    watch.look()
    seconds = time.monotonic() - began_s
    for life in sorted(watch.alive(), key=lambda life: life.appeared_s):
        with contextlib.suppress(psutil.Error):
            yield {
                "process": life.name,
                "appeared_s": life.appeared_s,
                "cpu_s": until_ready.get(life.process, 0.0),
                "idle": (life.cpu_s - before.get(life.process, life.cpu_s)) / seconds,
                "pss_mib": life.process.memory_full_info().pss / MIB,
            }


def show(line: dict[str, str | float]) -> None:
    """Print one line of JSON, at once."""
    sys.stdout.write(
        json.dumps({key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()})
    )
    sys.stdout.write("\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
