"""Score the parts of a run with Ray Data: a pool of actors, on one machine or on a cluster.

Ray distributes the numbers of parts. Each actor reads its parts from the storage and writes them there itself.
"""

import contextlib
import logging
import os
import pickle
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import ray
import ray.data

from pipelines.bulk.output import Output
from pipelines.bulk.progress import Progress
from pipelines.bulk.run import Run
from pipelines.bulk.scorer import Scorer
from pipelines.bulk.storage import Location
from pipelines.bulk.worker import PartReport, PartScorer, Tell
from pipelines.checkpoints.resolve import OutputOptions, resolve
from pipelines.engines.choice import EngineSettings
from pipelines.errors import CheckpointDamaged, MunjangError, StageFailed
from pipelines.format.manifest import verify

logger = logging.getLogger(__name__)

POLL_S = 0.5
MOST_ATTEMPTS = 3  # at a part whose workers die; Ray alone would try for ever


@dataclass(frozen=True)
class Room:
    """What the workers take of the cluster: their number, and the CPU cores and the share of a GPU of each."""

    workers: int
    threads: int
    gpus: float

    @classmethod
    def of(cls, workers: int | None, threads: int, *, gpu: bool | None) -> "Room":
        """By default one worker for each GPU, or for each `threads` cores. `gpu` None: GPUs if the cluster has any."""
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0))
        if gpu or (gpu is None and gpus):
            workers = workers or max(1, gpus)
            workers_of_a_gpu = -(-workers // max(1, gpus))
            return cls(workers, threads, 1 / workers_of_a_gpu)
        return cls(workers or max(1, int(there.get("CPU", 0)) // threads), threads, 0.0)

    def warn_if_waiting(self) -> None:
        """Log a warning if the cluster has too little for all workers: Ray silently waits until machines join."""
        there = ray.cluster_resources()
        for name, wanted in (("CPU", self.workers * self.threads), ("GPU", self.workers * self.gpus)):
            if wanted > there.get(name, 0):
                logger.warning(
                    "%d workers need %g %ss; the cluster has %g", self.workers, wanted, name, there.get(name, 0)
                )


@dataclass(frozen=True)
class Work:
    """What a worker needs to know.

    The run, URLs or paths of its input and output, the checkpoint, what is said about its outputs, and its engine.
    """

    run: Run
    input: str
    output: str
    checkpoint: str
    outputs: OutputOptions
    engine: EngineSettings


@contextlib.contextmanager
def cluster() -> Iterator[None]:
    """Connect to the Ray cluster at RAY_ADDRESS, or to one started here, for as long as the context lasts.

    A cluster that is started here has no dashboard, which would take seconds and eleven more processes to start.
    """
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def score(work: Work, room: Room, numbers: Sequence[int], progress: Progress) -> Iterator[PartReport]:
    """Score the parts with these numbers; yields a report when one is done.

    Raises the first error of a worker, and StageFailed if `MOST_ATTEMPTS` workers died of the same part.
    """
    slots = work.engine.slots or 1
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # a part may take long, and so may machines that join
    counter = ray.remote(num_cpus=0)(_Counter).remote()
    reports = ray.data.from_items(list(numbers), override_num_blocks=len(numbers)).map(
        _Worker,
        fn_constructor_args=(ray.put(work), counter),
        compute=ray.data.ActorPoolStrategy(
            size=min(room.workers, len(numbers)),
            max_tasks_in_flight_per_actor=slots + 1,
            max_concurrent_calls_per_actor=slots,
            enable_true_multi_threading=True,
        ),
        num_cpus=room.threads,
        num_gpus=room.gpus,
    )
    with _shown(counter, progress):
        for row in reports.iter_rows():
            report = pickle.loads(row["report"])  # noqa: S301  # a worker made it
            if isinstance(report, Exception):
                raise report
            yield report


class _Worker:
    """An actor of the pool. Errors are returned: Ray would wrap them."""

    def __init__(self, work: Any, counter: Any) -> None:
        self._counter = counter
        self._failure: Exception | None = None
        try:
            self._parts = part_scorer(ray.get(work), counter.add.remote)
        except (MunjangError, OSError) as error:
            self._failure = error

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        return {"report": pickle.dumps(self._failure or self._score(row["item"]))}

    def _score(self, number: int) -> PartReport | Exception:
        if ray.get(self._counter.attempt.remote(number)) > MOST_ATTEMPTS:
            return StageFailed(f"part {number}", f"{MOST_ATTEMPTS} workers died of it")
        try:
            return self._parts.score(number)
        except (MunjangError, OSError) as error:
            return error


def part_scorer(work: Work, tell: Tell) -> PartScorer:
    """What scores the parts of a run in this process. Raises CheckpointError."""
    threads = work.engine.threads
    os.environ |= {"TOKENIZERS_PARALLELISM": str(threads > 1).lower(), "RAYON_NUM_THREADS": str(threads)}
    task = work.run.task
    folder = resolve(work.checkpoint, task.checkpoint, work.outputs)
    manifest = verify(folder, task.checkpoint)
    if manifest.digest != work.run.digest:
        raise CheckpointDamaged(str(folder), f"its digest is {manifest.digest} here, elsewhere {work.run.digest}")
    scorer = Scorer.load(folder, manifest, task, work.engine, work.run.options.role)
    output = Output(Location.of(work.output), work.run)
    return PartScorer(work.run, Location.of(work.input), output, scorer, tell)


class _Counter:
    """An actor that sums up what all workers have done, and outlives them."""

    def __init__(self) -> None:
        self._rows = self._set_aside = 0
        self._attempts = defaultdict[int, int](int)

    def attempt(self, part: int) -> int:
        self._attempts[part] += 1
        return self._attempts[part]

    def add(self, rows: int, set_aside: int) -> None:
        self._rows += rows
        self._set_aside += set_aside

    def totals(self) -> tuple[int, int]:
        return self._rows, self._set_aside


@contextlib.contextmanager
def _shown(counter: Any, progress: Progress) -> Iterator[None]:
    """Show the counter in `progress`, twice a second."""
    ended = Event()

    def show() -> None:
        while not ended.wait(POLL_S):
            progress.update(*ray.get(counter.totals.remote()))

    thread = Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        progress.end()
