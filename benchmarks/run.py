"""Measure Munjang and its peers on this machine.

    make bench
    python -m benchmarks.run --models small --servers munjang fastapi/2x1 --rounds 1 --seconds 3

Servers run one after another, never two at once. A round measures every server with every model once, so that changes
of the machine's speed affect all servers alike. Every figure is written to benchmarks/results/ at once, as a JSON line.
Where a server fails, the failure is recorded and the next server is measured. At the end the report is written
(benchmarks/report.py).
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks import models
from benchmarks.clients import session
from benchmarks.environments import versions
from benchmarks.measure import Plan, Record, check, large_file, large_file_with_probes, measure
from benchmarks.pairs import read_pairs, stream
from benchmarks.processes import running
from benchmarks.report import write_report
from benchmarks.servers import ROOT, SERVERS, Munjang, Server, chosen
from pipelines.text.files import data_folder

LOGS = ROOT / "benchmarks" / ".logs"
ENGINE_S, ENGINE_ROUNDS = 1200, 3
QUICK = {
    "models": ["shipped"],
    "rounds": 1,
    "callers": [1, 64],
    "seconds": 6.0,
    "warm_up": 3.0,
    "shares": [],
    "file": 300,
}
"""The defaults of a quick run."""
DEFAULT_SERVERS = [name for name in dict.fromkeys(server.name for server in SERVERS) if name != "original"]


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stops the running server, as Ctrl-C does
    arguments = parse()
    try:
        servers = chosen(arguments.servers)
    except ValueError as error:
        sys.exit(str(error))
    raw = arguments.output or ROOT / "benchmarks" / "results" / f"{datetime.now(UTC):%Y-%m-%d-%H%M}.jsonl"
    raw.parent.mkdir(parents=True, exist_ok=True)
    prepare(servers, arguments.models, arguments.data)
    with raw.open("a", encoding="utf-8") as file:

        def write(**record: object) -> None:
            line = json.dumps(record, ensure_ascii=False)
            print(line if len(line) < 400 else f"{line[:400]}...", flush=True)
            file.write(line + "\n")
            file.flush()

        write(kind="machine", **machine())
        for server in {server.name: server for server in servers}.values():
            write(kind="environment", server=server.name, versions=versions(server.prepare()))
        for number in range(1, arguments.rounds + 1):
            one_round(servers, arguments, number, write)
    write_report(raw)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=models.NAMES, default=list(models.NAMES))
    parser.add_argument("--servers", nargs="+", default=DEFAULT_SERVERS, help="names, or labels such as fastapi/2x1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of each load")
    parser.add_argument(
        "--warm-up", type=float, default=5.0, help="seconds of an unmeasured load with the most callers"
    )
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument(
        "--rates", type=float, nargs="*", default=[], help="open loops: pairs/s, the same for all servers"
    )
    parser.add_argument(
        "--shares",
        type=float,
        nargs="*",
        default=[0.5, 0.8],
        help="open loops: shares of a server's own closed-loop rate",
    )
    parser.add_argument("--arrivals", choices=["poisson", "constant"], default="poisson")
    parser.add_argument("--file", type=int, default=1_000, help="pairs of the file")
    parser.add_argument(
        "--large-file",
        type=int,
        nargs="?",
        const=20_000,
        default=0,
        help="pairs of a large file; 20,000 without a number",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round with the shipped model, 6 s for each load, without open loops",
    )
    parser.add_argument("--no-engine", action="store_true", help="do not measure the engine alone")
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds for one server in one round")
    parser.add_argument("--output", type=Path, help="raw file (a new one in benchmarks/results/)")
    if parser.parse_known_args()[0].quick:
        parser.set_defaults(**QUICK)
    return parser.parse_args()


def prepare(servers: list[Server], names: list[str], data: Path) -> None:
    """Install the environments and make the models, before anything is timed."""
    for server in servers:
        server.prepare()
    for name in names:
        models.expected(name, data)
        for server in (server for server in servers if isinstance(server, Munjang)):
            server.checkpoint(name, data)


def machine() -> Record:
    """The machine, the software and the command line of this run."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return {
        "cpu": next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": git("rev-parse", "--short", "HEAD"),
        "changed": git("status", "--porcelain", "--untracked-files=no").splitlines(),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": " ".join(["python -m benchmarks.run", *without_paths(sys.argv[1:])]),
    }


def without_paths(arguments: list[str]) -> list[str]:
    """A command line without the options whose values are folders of this machine."""
    return [
        word
        for before, word in zip(["", *arguments], arguments, strict=False)
        if not {before, word} & {"--data", "--output"}
    ]


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def one_round(servers: list[Server], arguments: argparse.Namespace, number: int, write: Callable[..., None]) -> None:
    """Measure every server with every model once, and the engine alone."""
    for model in arguments.models:
        for server in (server for server in servers if model in server.models):
            about = {"round": number, "model": model, "server": server.name, "label": server.label}
            about["precision"] = server.precision
            try:
                on_server(server, model, arguments, number, partial(write, kind="figures", **about))
            except Exception as error:  # whatever happens to one server, the others are measured
                write(kind="failure", **about, error=f"{type(error).__name__}: {error}".replace(f"{ROOT}/", ""))
            if isinstance(server, Munjang) and not arguments.no_engine:
                for record in engine_alone(server, model, arguments, number):
                    write(kind="engine", **about, **record)


def on_server(
    server: Server, model: str, arguments: argparse.Namespace, number: int, write: Callable[..., None]
) -> None:
    """Start the server, check its scores, measure it, stop it."""
    log = f"{model}-{server.label.replace('/', '-')}-{number}"
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        commands = server.commands(model, arguments.data, arguments.port, Path(scratch))
        urls = [f"http://127.0.0.1:{arguments.port + number}" for number in range(len(commands))]
        begin = time.monotonic()
        trees = [
            stack.enter_context(
                running(command, f"{url}{server.client.ready}", LOGS / f"{log}-{url.rpartition(':')[2]}.log")
            )
            for command, url in zip(commands, urls, strict=True)
        ]
        write(load="start", seconds=round(time.monotonic() - begin, 1))

        def memory_mib() -> float:
            return round(sum(tree.memory_mib() for tree in trees), 1)

        work = checked_and_measured(server, model, urls, arguments, number, memory_mib, write)
        asyncio.run(asyncio.wait_for(work, arguments.limit))


async def checked_and_measured(
    server: Server,
    model: str,
    urls: list[str],
    arguments: argparse.Namespace,
    number: int,
    memory_mib: Callable[[], float],
    write: Callable[..., None],
) -> None:
    plan = plan_of(arguments, server, number)
    async with session(*urls) as http:
        client = server.client(http, models.prompt_of(model))
        write(**await check(client, *models.expected(model, arguments.data), server.precision))
        pairs = stream(read_pairs(arguments.data), seed=number)
        rates: dict[str, float] = {}
        async for record in measure(client, pairs, plan):
            write(**record)
            rates |= {record["way"]: record["pairs_per_s"]} if "way" in record else {}
        write(load="memory", idle_mib=memory_mib())
        if plan.large_file_pairs:
            way = max(rates, key=rates.__getitem__)
            async for record in (
                large_file_with_probes(client, pairs, plan, way, memory_mib)
                if isinstance(server, Munjang)
                else large_file(client, pairs, plan, way)
            ):
                write(**record)


def plan_of(arguments: argparse.Namespace, server: Server, number: int) -> Plan:
    """The loads that the command line asks for."""
    return Plan(
        seconds=arguments.seconds,
        warm_up_s=arguments.warm_up,
        callers=tuple(arguments.callers),
        rates=tuple(arguments.rates),
        shares=tuple(arguments.shares),
        poisson=arguments.arrivals == "poisson",
        file_pairs=min(arguments.file, server.file_pairs),
        large_file_pairs=arguments.large_file,
        seed=number,
    )


def engine_alone(server: Munjang, model: str, arguments: argparse.Namespace, number: int) -> list[Record]:
    """Measure the variant's engine alone, in a process of its own."""
    checkpoint, source = server.checkpoint(model, arguments.data), models.folder_of(model, arguments.data)
    command = [sys.executable, "-m", "benchmarks.engine", str(checkpoint), "--source", str(source)]
    command += ["--data", str(arguments.data), "--rounds", str(ENGINE_ROUNDS), "--seed", str(number)]
    command += ["--engine", json.dumps(server.engine)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=ENGINE_S, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        return [{"load": "failure", "error": str(error.stderr)[-1000:]}]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


if __name__ == "__main__":
    main()
