"""Measure what share of the rate of the engine alone `munjang bulk` reaches on this machine.

    python -m benchmarks.bulk checkpoints/sts --pairs 2000 --rounds 5

The same pairs of KLUE-STS are scored by turns by the engine in this process, in batches sorted by length and tokenized
before, with one thread on each core; and by a bulk run from a file to a file, with one worker on each core. Of the bulk
run, only the time counts in which all workers are busy: neither the start of Ray and the workers, nor the end, when
some have no part left.

A round compares a bulk run with the mean of the engine before and after it, since the speed of a machine may drift:

    share      pairs/s of the bulk run over those of the engine
    cpu_share  CPU time of a pair in the engine over that in all processes of the bulk run. Where both keep the cores
               busy, it is the share that a machine without other work would give

Prints a JSON line for each round, and their medians.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any, Self

import numpy as np
import psutil

from benchmarks.pairs import Pair, read_pairs, stream, take
from pipelines.bulk.job import Request, complete
from pipelines.bulk.worker import PartReport
from pipelines.checkpoints import in_process
from pipelines.engines.choice import EngineSettings
from pipelines.format.manifest import read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.text.files import data_folder

BUDGETS = (256, 512, 1024)
"""Padded tokens of a batch of the engine alone; the best one at the start counts."""
SAMPLE_EVERY_S = 0.5


@dataclass(frozen=True)
class Cost:
    """What scoring takes: pairs per second, and seconds of CPU time per pair."""

    pairs_per_s: float
    cpu_s: float

    @classmethod
    def mean(cls, costs: Sequence[Self]) -> Self:
        return cls(fmean(cost.pairs_per_s for cost in costs), fmean(cost.cpu_s for cost in costs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    workers = len(os.sched_getaffinity(0))
    pairs = take(stream(read_pairs(arguments.data), arguments.seed), arguments.pairs)
    shares = []
    for number, figures in enumerate(rounds(arguments.checkpoint, pairs, workers, arguments.rounds), 1):
        shares.append(figures)
        print(json.dumps({"round": number, "pairs": len(pairs), "workers": workers} | figures), flush=True)
    medians = {f"median {name}": median(figures[name] for figures in shares) for name in ("share", "cpu_share")}
    print(json.dumps(medians), flush=True)


def rounds(checkpoint: Path, pairs: list[Pair], workers: int, count: int) -> Iterator[dict[str, Any]]:
    engine = Engine(checkpoint, pairs, workers)
    before = engine.cost()
    for _ in range(count):
        bulk, reports = bulk_cost(checkpoint, pairs, workers)
        after = engine.cost()
        alone = Cost.mean([before, after])
        before = after
        yield {
            "engine": f"{reports[0].engine}, {engine.budget} tokens",
            "engine_pairs_per_s": round(alone.pairs_per_s, 1),
            "bulk_pairs_per_s": round(bulk.pairs_per_s, 1),
            "share": round(bulk.pairs_per_s / alone.pairs_per_s, 3),
            "engine_cpu_ms": round(1e3 * alone.cpu_s, 2),
            "bulk_cpu_ms": round(1e3 * bulk.cpu_s, 2),
            "cpu_share": round(alone.cpu_s / bulk.cpu_s, 3),
            "parts": len(reports),
        }


class Engine:
    """The engine in this process, with the pairs tokenized."""

    def __init__(self, checkpoint: Path, pairs: list[Pair], slots: int) -> None:
        manifest = read_manifest(checkpoint)
        self._model = in_process.load_model(checkpoint, manifest, EngineSettings(threads=1, slots=slots))
        self._tokens = TextTokenizer.load(checkpoint, manifest).sentence_pairs(pairs).tokens
        self._pairs, self._slots = len(pairs), slots
        self.budget = max(BUDGETS, key=lambda budget: self._cost(budget).pairs_per_s)

    def cost(self) -> Cost:
        return self._cost(self.budget)

    def _cost(self, budget: int) -> Cost:
        batches = [self._tokens.select(batch) for batch in self._tokens.by_length(budget)]
        with ThreadPoolExecutor(self._slots) as threads:
            list(threads.map(self._model.run, batches[-4:]))
            begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
            list(threads.map(self._model.run, batches))
            seconds, cpu_s = time.perf_counter() - begin_s, time.process_time() - begin_cpu_s
        return Cost(self._pairs / seconds, cpu_s / self._pairs)


def bulk_cost(checkpoint: Path, pairs: list[Pair], workers: int) -> tuple[Cost, list[PartReport]]:
    """The cost of a pair while all workers are busy, and the reports of all parts."""
    reports: list[PartReport] = []
    with TemporaryDirectory() as folder, CpuTime() as cpu_time:
        path = Path(folder, "pairs.jsonl")
        rows = [{"idx": number, "sentence1": one, "sentence2": two} for number, (one, two) in enumerate(pairs)]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        complete(Request("sts", str(path), f"{folder}/out", str(checkpoint), workers=workers), reports.append)
    begin_s, end_s = busy_time(reports, workers)
    done = rows_between(reports, begin_s, end_s)
    return Cost(done / (end_s - begin_s), cpu_time.between(begin_s, end_s) / done), reports


def busy_time(reports: Sequence[PartReport], workers: int) -> tuple[float, float]:
    """The first and the last moment at which as many parts as workers were under way."""
    times = sorted({time for report in reports for time in (report.began_s, report.ended_s)})
    full = [time for time in times if sum(one.began_s <= time <= one.ended_s for one in reports) >= workers]
    if not full or full[0] == full[-1]:
        raise ValueError("there was no time at which all workers were busy; take more pairs")
    return full[0], full[-1]


def rows_between(reports: Sequence[PartReport], begin_s: float, end_s: float) -> float:
    """The rows that were done between two moments; of a part that lies over one of them, its share of the time."""
    inside = [max(0.0, min(one.ended_s, end_s) - max(one.began_s, begin_s)) for one in reports]
    return sum(one.rows * time / (one.ended_s - one.began_s) for one, time in zip(reports, inside, strict=True))


class CpuTime:
    """Samples the CPU time of this process and of all processes below it while a context lasts."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        self._seen: dict[int, float] = {}
        self._ended = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def between(self, begin_s: float, end_s: float) -> float:
        """Seconds of CPU time between two moments, which are seconds since 1970."""
        begin, end = np.interp([begin_s, end_s], *zip(*self._samples, strict=True))
        return float(end - begin)

    def _run(self) -> None:
        self._sample()
        while not self._ended.wait(SAMPLE_EVERY_S):
            self._sample()
        self._sample()

    def _sample(self) -> None:
        me = psutil.Process()
        for process in [me, *me.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                self._seen[process.pid] = times.user + times.system
        self._samples.append((time.time(), sum(self._seen.values())))


if __name__ == "__main__":
    main()
