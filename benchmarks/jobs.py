"""Measure jobs on a Munjang server of its own: rate, memory, the latency of single pairs meanwhile, and a kill.

    python -m benchmarks.jobs --checkpoint checkpoints/sts --pairs 1000 --data ../shared/data

Prints one JSON line for each figure. The pairs are those of KLUE-STS train, each sent once, and there is no cache. The
steps: the pairs in one request to /pred/file/; as a job; single pairs alone; single pairs beside a job of more pairs,
until 40 % of it are done; then all processes of the server get SIGKILL, and the server starts again and ends that job;
an upload of 100 MB, which becomes a job whose file is checked.
"""

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.clients import MunjangClient, session
from benchmarks.loads import arrivals, during, open_loop
from benchmarks.measure import PATIENCE_S, while_running
from benchmarks.own_server import munjang
from benchmarks.pairs import Pair, read_pairs, stream, take
from benchmarks.processes import MIB, Tree, running
from deployments.jobs.client import Job, JobsClient, connection
from pipelines.text.files import data_folder

KILL_AT = 0.4
BESIDE = 2.5  # pairs of the job beside single pairs, as a multiple of --pairs
UPLOAD_BYTES = 100 * 10**6
SAMPLE_S = 0.02
WATCHED = ("Ingress", "JobRunner")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--checkpoint", default="checkpoints/sts")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--probes-per-s", type=float, default=20.0)
    parser.add_argument("--probe-seconds", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        asyncio.run(measure(arguments, Path(scratch)))


async def measure(arguments: argparse.Namespace, scratch: Path) -> None:
    """Print the lines of all steps."""
    pairs = stream(read_pairs(arguments.data), arguments.seed)
    command, url = munjang(arguments.checkpoint, arguments.port, scratch), f"http://127.0.0.1:{arguments.port}"
    with running(command, f"{url}/readyz", scratch / "log") as server:
        await warm_up(url, pairs)
        same = take(pairs, arguments.pairs)
        show(await file_route(url, same))
        alone = await job_alone(url, scratch, same)
        show(alone)
        show(await probes_alone(arguments, url, pairs))
        file = write_pairs(scratch / "killed.csv", take(pairs, int(BESIDE * arguments.pairs)))
        job, line = await probes_beside_a_job(arguments, url, pairs, file)
        show(line)
        killed_s = time.perf_counter()
        for member in server.members():
            member.kill()
    with running(command, f"{url}/readyz", scratch / "log") as server:
        show(await ended(url, job, killed_s, time.perf_counter(), alone["pairs_per_s"]))
        show(await upload(url, server, write_pairs(scratch / "large.csv", endless(pairs))))


async def warm_up(url: str, pairs: Iterator[Pair]) -> None:
    async with session(url) as http:
        await MunjangClient(http).scores(take(pairs, 64))


async def file_route(url: str, pairs: list[Pair]) -> dict[str, Any]:
    """All pairs in one request."""
    async with session(url) as http:
        began = time.perf_counter()
        scores = await MunjangClient(http).scores(pairs)
    assert len(scores) == len(pairs)
    return {"step": "file route", **rate(len(pairs), time.perf_counter() - began)}


async def job_alone(url: str, scratch: Path, pairs: list[Pair]) -> dict[str, Any]:
    """The same pairs as a job, from the upload to the event that it is completed."""
    file = write_pairs(scratch / "alone.csv", pairs)
    began = time.perf_counter()
    job = await asyncio.to_thread(finish, url, await asyncio.to_thread(submit, url, file))
    seconds = time.perf_counter() - began
    assert job["request_counts"]["completed"] == len(pairs), job
    return {"step": "job", **rate(len(pairs), seconds)}


async def probes_alone(arguments: argparse.Namespace, url: str, pairs: Iterator[Pair]) -> dict[str, Any]:
    """Single pairs at a fixed rate."""
    due = during(arrivals(arguments.probes_per_s), arguments.probe_seconds)
    async with session(url) as http:
        outcome = await open_loop(MunjangClient(http).score, pairs, due, PATIENCE_S)
    return {"step": "single pairs alone", **outcome.figures(arguments.probe_seconds)}


async def probes_beside_a_job(
    arguments: argparse.Namespace, url: str, pairs: Iterator[Pair], file: Path
) -> tuple[str, dict[str, Any]]:
    """The id of a job of which `KILL_AT` is done, and the line of the single pairs that were sent meanwhile."""
    job = await asyncio.to_thread(submit, url, file)
    running_job = asyncio.create_task(asyncio.to_thread(reach, url, job, KILL_AT))
    began = time.perf_counter()
    async with session(url) as http:
        due = while_running(arrivals(arguments.probes_per_s), running_job)
        outcome = await open_loop(MunjangClient(http).score, pairs, due, PATIENCE_S)
    reached = await running_job
    line = {"step": "single pairs beside a job", **outcome.figures(time.perf_counter() - began)}
    return job, line | {"rows_done": reached["request_counts"]["completed"]}


async def ended(url: str, job: str, killed_s: float, ready_s: float, pairs_per_s: float) -> dict[str, Any]:
    """The end of a job whose server was killed, and the rows that are missing or there twice."""
    done, total = await asyncio.to_thread(progress, url, job)
    last = await asyncio.to_thread(finish, url, job)
    seconds = time.perf_counter() - killed_s
    with connection(url) as http:
        content = b"".join(JobsClient(http).results(job, errors=False))
    lines = [json.loads(line)["line"] for line in content.splitlines()]
    return {
        "step": "after SIGKILL of all processes",
        "rows": total,
        "rows_kept": done,
        "status": last["status"],
        "rows_lost": total - len(set(lines)),
        "rows_twice": len(lines) - len(set(lines)),
        "ready_again_s": round(ready_s - killed_s, 1),
        "from_kill_to_end_s": round(seconds, 1),
        "lost_s": round(seconds - (total - done) / pairs_per_s, 1),
    }


async def upload(url: str, server: Tree, file: Path) -> dict[str, Any]:
    """Upload a file and have it checked, and report the memory of those processes that work on it."""
    replicas = {name: replica(server, name) for name in WATCHED}
    size = await asyncio.to_thread(lambda: file.stat().st_size)
    began = time.perf_counter()
    with peaks(replicas) as highest:
        job = await asyncio.to_thread(submit, url, file)
        uploaded_s = time.perf_counter() - began
        checked = await asyncio.to_thread(reach, url, job, 0.0)
    grown = {f"{name}_grew_mib": round((high - low) / MIB, 1) for name, (low, high) in highest.items()}
    peak = {f"{name}_peak_rss_mib": round(high / MIB, 1) for name, (_, high) in highest.items()}
    return {
        "step": "upload",
        "bytes": size,
        "upload_s": round(uploaded_s, 2),
        "check_s": round(time.perf_counter() - began - uploaded_s, 1),
        "rows": checked["request_counts"]["total"],
        **peak,
        **grown,
    }


@contextmanager
def peaks(replicas: dict[str, psutil.Process]) -> Iterator[dict[str, tuple[int, int]]]:
    """Within the context, sample the resident set of each process: the first and the highest value in bytes."""
    seen = {name: (process.memory_info().rss,) * 2 for name, process in replicas.items()}
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_S):
            for name, process in replicas.items():
                low, high = seen[name]
                seen[name] = (low, max(high, process.memory_info().rss))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def replica(server: Tree, deployment: str) -> psutil.Process:
    """The process of a deployment's only replica."""
    (found,) = [one for one in server.members() if f":{deployment}" in "".join(one.cmdline()[:1])]
    return found


def submit(url: str, file: Path) -> str:
    with connection(url) as http:
        job_id: str = JobsClient(http).submit(file, "/pred/file/", "24h")["id"]
        return job_id


def finish(url: str, job: str) -> Job:
    """Wait until the job has ended."""
    with connection(url) as http:
        *_, last = JobsClient(http).changes(job)
    return last


def reach(url: str, job: str, share: float) -> Job:
    """Wait until this share of the job's rows is done."""
    with connection(url) as http:
        for state in JobsClient(http).changes(job):
            counts = state["request_counts"]
            if state["status"] != "validating" and counts["completed"] >= share * counts["total"]:
                return state
    raise AssertionError("the job ended too early")


def progress(url: str, job: str) -> tuple[int, int]:
    """The rows that are done, and all rows."""
    with connection(url) as http:
        counts = JobsClient(http).status(job)["request_counts"]
    return counts["completed"], counts["total"]


def write_pairs(path: Path, pairs: Sequence[Pair] | Iterator[Pair]) -> Path:
    """Write pairs as TSV, which needs no quotation marks."""
    path = path.with_suffix(".tsv")
    with path.open("w", encoding="utf-8") as file:
        file.write("sentence1\tsentence2\n")
        file.writelines(f"{left}\t{right}\n" for left, right in pairs)
    return path


def endless(pairs: Iterator[Pair]) -> Iterator[Pair]:
    """Pairs until they have `UPLOAD_BYTES` bytes."""
    size = 0
    for left, right in pairs:
        size += len(f"{left}\t{right}\n".encode())
        if size > UPLOAD_BYTES:
            return
        yield left, right


def rate(pairs: int, seconds: float) -> dict[str, float]:
    return {"pairs": pairs, "seconds": round(seconds, 2), "pairs_per_s": round(pairs / seconds, 1)}


def show(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
