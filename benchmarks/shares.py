"""Start a Munjang server, keep it busy with single pairs, and report what each process takes of a request.

    python -m benchmarks.shares checkpoints/sts --callers 64 --seconds 20
    python -m benchmarks.shares checkpoints/sts --flame-graphs FOLDER

Callers send their next pair when their last one is answered, as in benchmarks.load. Prints JSON lines: the rate of each
second; and for the seconds of `--seconds`, the pairs per second, the share of all cores that was idle or belonged to
others, and for each process of the server and the client

cpu_ms   milliseconds of CPU time for each answered pair
share    its share of the CPU time of the server and the client

With `--flame-graphs`, py-spy (https://github.com/benfred/py-spy) then samples each busy process under the same load.
"""

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.clients import MunjangClient, session
from benchmarks.own_server import munjang
from benchmarks.pairs import Pair, read_pairs, stream
from benchmarks.processes import running
from benchmarks.start import show
from benchmarks.watch import Life, Watch
from pipelines.text.files import data_folder

BUSY_SHARE = 0.02  # of the CPU time; processes with less are not sampled
SAMPLED_S, SAMPLES_PER_S = 10, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=10, help="seconds")
    parser.add_argument("--flame-graphs", type=Path, metavar="FOLDER")
    parser.add_argument("--sts", type=json.loads, metavar="JSON", help="settings of the task, as in serve_config.yaml")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.flame_graphs and not shutil.which("py-spy"):
        parser.error("py-spy is not installed: pip install py-spy")
    url = f"http://127.0.0.1:{arguments.port}"
    with TemporaryDirectory() as scratch:
        command = munjang(arguments.checkpoint, arguments.port, Path(scratch), arguments.sts)
        with running(command, f"{url}/readyz", Path(scratch) / "log") as tree:
            asyncio.run(measure(Watch(tree), url, arguments))


async def measure(watch: Watch, url: str, arguments: argparse.Namespace) -> None:
    """Print the lines of one load."""
    pairs = stream(read_pairs(arguments.data), arguments.seed)
    answered: Counter[int] = Counter()
    async with session(url) as http:
        client = MunjangClient(http)
        callers = [asyncio.create_task(ask_on(client, pairs, answered)) for _ in range(arguments.callers)]
        await asyncio.sleep(arguments.warm_up)
        before, first = cpu_of_all(watch), sum(answered.values())
        cores, began_s = psutil.cpu_times(), time.monotonic()
        await asyncio.sleep(arguments.seconds)
        seconds, after, answers = time.monotonic() - began_s, cpu_of_all(watch), sum(answered.values()) - first
        report(before, after, answers, seconds, elsewhere(cores, psutil.cpu_times(), before, after))
        for second in sorted(answered)[1:-1]:
            show({"second": second - min(answered), "pairs": answered[second]})
        if arguments.flame_graphs:
            await asyncio.to_thread(sample, before, after, arguments.flame_graphs)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


async def ask_on(client: MunjangClient, pairs: Iterator[Pair], answered: "Counter[int]") -> None:
    """Send pairs one after the other, and count the answers of each second."""
    while True:
        await client.score(next(pairs))
        answered[int(time.monotonic())] += 1


def cpu_of_all(watch: Watch) -> dict[Life, float]:
    """The CPU seconds of each process of the server and of this one."""
    watch.look()
    own = watch.lives.setdefault(psutil.Process(), Life(psutil.Process(), 0.0))
    own.look()
    own.name = "client"
    return {life: life.cpu_s for life in watch.alive()}


def elsewhere(began: object, ended: object, before: dict[Life, float], after: dict[Life, float]) -> dict[str, float]:
    """The shares of all cores that were idle, and that other processes or other machines on the same host took."""
    spent = {name: getattr(ended, name) - getattr(began, name) for name in began._fields}  # type: ignore[attr-defined]
    total = sum(spent.values()) - spent["guest"] - spent["guest_nice"]  # which are counted in user and nice as well
    ours = sum(cpu_s - before.get(life, 0.0) for life, cpu_s in after.items())
    idle = (spent["idle"] + spent["iowait"]) / total
    return {"idle": idle, "stolen": spent["steal"] / total, "others": 1 - idle - (spent["steal"] + ours) / total}


def report(
    before: dict[Life, float], after: dict[Life, float], answers: int, seconds: float, rest: dict[str, float]
) -> None:
    """Print the line of the load, and one for each process."""
    spent = {life: cpu_s - before.get(life, 0.0) for life, cpu_s in after.items()}
    total = sum(spent.values())
    show({"pairs_per_s": answers / seconds, "cpu_ms": 1000 * total / answers, **rest})
    for life, cpu_s in sorted(spent.items(), key=lambda item: -item[1]):
        show({"process": life.name, "cpu_ms": 1000 * cpu_s / answers, "share": cpu_s / total})


def sample(before: dict[Life, float], after: dict[Life, float], folder: Path) -> None:
    """Write a flame graph of each busy process, one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    spent = {life: cpu_s - before.get(life, 0.0) for life, cpu_s in after.items()}
    for life, cpu_s in spent.items():
        if cpu_s > BUSY_SHARE * sum(spent.values()):
            path = folder / f"{re.sub(r'[^A-Za-z]+', '-', life.name).strip('-')}.svg"
            options = ["--pid", str(life.process.pid), "--duration", str(SAMPLED_S), "--rate", str(SAMPLES_PER_S)]
            command = ["py-spy", "record", *options, "--nonblocking", "--threads", "--output", str(path)]
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
