"""A run on Ray Train: several processes, checkpoints to shared storage, and on again after a worker died.

One of the few files that import Ray: those that train or tune, and those of `deployments/`.
"""

import contextlib
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import TorchTrainer, get_device
from ray.util.queue import Queue

from pipelines.training.console import Console, DistantProgress, Tell, silent
from pipelines.training.curves import write_events
from pipelines.training.learner import Figures, Load, Row
from pipelines.training.results import History
from pipelines.training.settings import RaySettings, TrainingSettings
from pipelines.training.stage import Stage
from pipelines.training.trainer import State, Trainer, Worker

logger = logging.getLogger(__name__)

STATE = "state.pt"


@dataclass(frozen=True)
class RunResult:
    """What a run leaves: its history, and the weights after its best epoch, on the CPU."""

    history: History
    weights: dict[str, torch.Tensor]


@contextlib.contextmanager
def cluster() -> Iterator[None]:
    """A connection to Ray for as long as the context lasts: to RAY_ADDRESS, or to a cluster started for it."""
    ray.init(log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


def fit(
    name: str,
    load: Load[Row],
    stages: Sequence[Stage[Row]],
    dev: Sequence[Row],
    settings: TrainingSettings,
    where: RaySettings,
) -> RunResult:
    """Train to the last epoch, from the last epoch that an earlier run of this name in this storage reached.

    Raises KeyboardInterrupt where the user stops it, and what Ray raises where workers die more often than allowed.
    """
    storage = place_of(where.storage)
    tell_of_waiting(where.num_workers * where.cpus_per_worker, where.num_workers * where.use_gpu)
    with _console() as tell, _interruptible():
        trainer = TorchTrainer(
            _work(name, partial(Trainer, load, stages, dev, settings), tell, f"{storage}/{name}/tensorboard"),
            scaling_config=_scaling(where),
            run_config=ray.train.RunConfig(
                name=name,
                storage_path=storage,
                failure_config=ray.train.FailureConfig(max_failures=where.max_failures),
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
                logging_config=ray.train.LoggingConfig(log_level="ERROR"),
            ),
        )
        state = read_state(trainer.fit().checkpoint)
    return RunResult(History.of(state["history"]), state["best"])


def tell_of_waiting(cpus: int, gpus: float) -> None:
    """A warning where the cluster has fewer than are wanted: Ray waits for more to join, and says nothing."""
    has = ray.cluster_resources()
    cpus_there, gpus_there = has.get("CPU", 0), has.get("GPU", 0)
    if cpus > cpus_there or gpus > gpus_there:
        logger.warning(
            "%d CPUs and %g GPUs are wanted and the cluster has %d and %g: this waits until there are more",
            *(cpus, gpus, cpus_there, gpus_there),
        )


def _scaling(where: RaySettings) -> Any:
    gpus = {"GPU": 1} if where.use_gpu else {}
    return ray.train.ScalingConfig(
        num_workers=where.num_workers,
        use_gpu=where.use_gpu,
        resources_per_worker={"CPU": where.cpus_per_worker, **gpus},
    )


def _work(name: str, start: Callable[..., Trainer[Any]], tell: Tell, logs: str) -> Callable[[], None]:
    """What every worker does. Ray keeps the rows, which `start` holds, in its object store."""

    def work() -> None:
        context = ray.train.get_context()
        place = Worker(context.get_world_rank(), context.get_world_size(), get_device())
        run = start(place=place, progress=partial(DistantProgress, silent if place.rank else tell))
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is not None:
            run.restore(read_state(checkpoint))
        if place.rank == 0:
            _lead(name, run, tell, logs)
        else:
            for figures in run.epochs():
                _report(figures)

    return work


def _lead(name: str, run: Trainer[Any], tell: Tell, logs: str) -> None:
    """The epochs of rank 0, which alone saves and tells."""
    if run.history.epochs:
        tell("say", (f"{name}: {len(run.history.epochs)} of {run.planned} epochs were done before",))
    for figures in run.epochs():
        write_events(logs, run.history)  # before the epoch counts: what is written for one that is lost is hidden later
        with TemporaryDirectory() as folder:
            write_state(folder, run)
            _report(figures, ray.train.Checkpoint.from_directory(folder))
        tell("say", (f"{name}: epoch {len(run.history.epochs)} of {run.planned}: {_words(figures)}",))


def _report(figures: Figures, checkpoint: Any = None) -> None:
    """Ray's controller collects reports every two seconds; a worker that died sooner would take the epoch with it."""
    ray.train.report(figures, checkpoint=checkpoint)
    ray.train.get_all_reported_checkpoints(ray.train.CheckpointConsistencyMode.COMMITTED)


def _words(figures: Figures) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


def write_state(folder: str, run: Trainer[Any]) -> None:
    """What `read_state` reads of a checkpoint of that folder."""
    torch.save(run.state(), Path(folder) / STATE)


def read_state(checkpoint: Any) -> State:
    """The state of a run, on the CPU."""
    with checkpoint.as_directory() as folder:
        state: State = torch.load(Path(folder) / STATE, map_location="cpu", weights_only=True)
        return state


def place_of(storage: str) -> str:
    """A storage as all machines name it: a URL, or an absolute path."""
    return storage if "://" in storage else str(Path(storage).resolve())


@contextlib.contextmanager
def _console() -> Iterator[Tell]:
    """Workers call what this gives; a thread of this process shows it."""
    queue = Queue(actor_options={"num_cpus": 0})
    thread = Thread(target=_show, args=(queue,), daemon=True)
    thread.start()
    try:
        yield partial(_put, queue)
    finally:
        _put(queue, "", ())
        thread.join()
        queue.shutdown(force=True)


def _put(queue: Any, method: str, arguments: tuple[Any, ...]) -> None:
    queue.put((method, arguments))


def _show(queue: Any) -> None:
    console = Console()
    for method, arguments in iter(queue.get, ("", ())):
        getattr(console, method)(*arguments)
    console.end()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ray Train takes Ctrl-C over, ends its workers, and exits; here that is a KeyboardInterrupt as ever."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGINT, before)
