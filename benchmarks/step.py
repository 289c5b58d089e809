"""Put a step of callers on a Munjang server of its own, and report replicas, rate and latency over time.

    python -m benchmarks.step --slots 1 --data ../shared/data      # an encoder takes one core
    python -m benchmarks.step --to-zero --data ../shared/data      # the first request after a pause

Prints one JSON line for each window of `--window` seconds and for each change of a deployment's replicas, and a last
one with the result. `at_s` counts from the step, or from the request that wakes the task.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import yaml

from benchmarks.clients import MunjangClient, session
from benchmarks.loads import REFUSED_WAIT_S, Ask, Outcome, Refused
from benchmarks.pairs import Pair, read_pairs, stream
from benchmarks.processes import Command, Tree, running
from benchmarks.replicas import Samples, Watch, changes, first_time, has, most_running, serve_states
from deployments.graph import SCALING
from deployments.server_process import dashboard_address
from pipelines.checkpoints.resolve import ROOT
from pipelines.text.files import data_folder

TASK = ("StsTokenizer", "StsEncoder")
ENCODER = TASK[1]
TO_ZERO_S = 10.0  # without requests, until the replicas stop
SETTLED_S = 180.0  # longest wait for the replicas to stop
QUIET_S = 10.0  # between the start and the step

Answers = list[tuple[float, float]]
"""When each answer came and how long it took, in seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--checkpoint", default="checkpoints/sts")
    parser.add_argument("--slots", type=int, help="batches that an encoder runs at once; one core for each")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--window", type=float, default=10.0)
    parser.add_argument("--most", type=int, default=2, help="most replicas of the encoder")
    parser.add_argument("--to-zero", action="store_true", help="let the task stop, and wake it with one request")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        command = munjang(arguments, Path(scratch))
        url = f"http://127.0.0.1:{arguments.port}"
        with running(command, f"{url}/readyz", Path(scratch) / "log") as server:
            asyncio.run(measure(arguments, server, url))


def munjang(arguments: argparse.Namespace, scratch: Path) -> Command:
    """Start as `make serve` does, but on loopback, without a cache and with stores in `scratch`."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    config["http_options"] |= {"host": "127.0.0.1", "port": arguments.port}
    application = config["applications"][0]
    engine = {"slots": arguments.slots} if arguments.slots else {}
    application["args"]["sts"] = {"checkpoint": arguments.checkpoint, "engine": engine, "cache_bytes": 0}
    application["args"]["chat"] = {"stores": str(scratch / "stores")}
    application["deployments"] = [
        {"name": name, "autoscaling_config": scaling(arguments.most, to_zero=arguments.to_zero)} for name in TASK
    ]
    path = scratch / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return Command([sys.executable, "-m", "deployments", "serve", str(path)], ROOT, {"RAY_ADDRESS": "local"})


def scaling(most: int, *, to_zero: bool) -> dict[str, Any]:
    """The `autoscaling_config` of the encoder and its tokenizer."""
    config = SCALING | {"max_replicas": most, "target_ongoing_requests": 16}
    if to_zero:
        config |= {"min_replicas": 0, "initial_replicas": 1, "downscale_to_zero_delay_s": TO_ZERO_S}
    return config


async def measure(arguments: argparse.Namespace, server: Tree, url: str) -> None:
    """Print the lines of the step, or of waking the task."""
    started = psutil.Process(server.process.pid).children()
    dashboard = next(filter(None, (dashboard_address(process.pid) for process in started)))
    async with session(url) as http, Watch(partial(serve_states, dashboard)).on() as watch:
        ask, pairs = MunjangClient(http).score, stream(read_pairs(arguments.data), arguments.seed)
        if arguments.to_zero:
            await wake(ask, pairs, watch)
        else:
            await step(arguments, ask, pairs, watch)


async def step(arguments: argparse.Namespace, ask: Ask, pairs: Iterator[Pair], watch: Watch) -> None:
    """Let callers begin all at once, and go on until there is one encoder again."""
    idle_s = psutil.cpu_times().idle
    await asyncio.sleep(QUIET_S)
    show({"idle_cores_before": round((psutil.cpu_times().idle - idle_s) / QUIET_S, 2)})
    began = time.perf_counter()
    answers = await callers(ask, pairs, arguments.callers, arguments.seconds)
    ended = time.perf_counter()
    for line in windows(answers, began, arguments.seconds, arguments.window):
        show(line)
    settled = await watch.until(has(1, *TASK), SETTLED_S)
    show_changes(watch.samples, began)
    show(
        {
            "pairs_per_s": round(len(answers) / (ended - began), 2),
            "most_encoders": most_running(watch.samples, ENCODER),
            "second_encoder_s": since(first_time(watch.samples, has(2, ENCODER), began), began),
            "one_encoder_again_s": since(settled, ended),
        }
    )


async def wake(ask: Ask, pairs: Iterator[Pair], watch: Watch) -> None:
    """Wait until the task has no replica, then send one request, and another one."""
    await watch.until(has(0, *TASK), SETTLED_S)
    began = time.perf_counter()
    times = []
    for _ in range(2):
        sent = time.perf_counter()
        await ask(next(pairs))
        times.append(round(time.perf_counter() - sent, 3))
    await watch.until(has(1, *TASK), SETTLED_S)
    show_changes(watch.samples, began)
    show({"first_request_s": times[0], "second_request_s": times[1]})


async def callers(ask: Ask, pairs: Iterator[Pair], count: int, seconds: float) -> Answers:
    """Run `count` callers for so long, each of which sends its next request when its last one is answered."""
    answers: Answers = []
    end = time.perf_counter() + seconds

    async def caller() -> None:
        while (sent := time.perf_counter()) < end:
            try:
                await ask(next(pairs))
            except Refused:
                await asyncio.sleep(REFUSED_WAIT_S)
                continue
            answers.append((time.perf_counter(), time.perf_counter() - sent))

    await asyncio.gather(*(caller() for _ in range(count)))
    return answers


def windows(answers: Answers, began: float, seconds: float, window_s: float) -> Iterator[dict[str, float]]:
    """Yield the rate and the latencies of the answers in each whole window."""
    for number in range(int(seconds // window_s)):
        start = began + number * window_s
        latencies = [latency for at_s, latency in answers if start <= at_s < start + window_s]
        figures = Outcome(latencies, in_time=len(latencies)).figures(window_s)
        yield {"from_s": number * window_s} | {
            key: figures[key] for key in figures if key not in ("refused", "unanswered")
        }


def show_changes(samples: Samples, began: float) -> None:
    for at_s, deployment, replicas in changes(samples):
        show({"at_s": since(at_s, began), "deployment": deployment, "replicas": replicas})


def since(at_s: float | None, began: float) -> float | None:
    return None if at_s is None else round(at_s - began, 1)


def show(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
