"""Training on Ray Train: several processes, checkpoints in shared storage, and restarts after a worker died.

Of `pipelines/`, only this file, `on_tune.py` and `bulk/on_ray.py` import Ray.
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
    """The result of a run: its history, and the weights after its best epoch, on the CPU."""

    history: History
    weights: dict[str, torch.Tensor]


@contextlib.contextmanager
def cluster() -> Iterator[None]:
    """Connect to the Ray cluster at RAY_ADDRESS, or to one started here, for as long as the context lasts."""
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
    """Train until the last epoch. If a run of this name is in the storage, continue after its last complete epoch.

    Raises KeyboardInterrupt if the user stops it, and an error of Ray if workers die more often than `where` allows.
    """
    storage = absolute_storage(where.storage)
    warn_if_waiting(where.num_workers * where.cpus_per_worker, where.num_workers * where.use_gpu)
    with _console() as tell, _interruptible():
        torch_trainer = TorchTrainer(
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
        state = read_state(torch_trainer.fit().checkpoint)
    return RunResult(History.of(state["history"]), state["best"])


def warn_if_waiting(cpus: int, gpus: float) -> None:
    """Log a warning if the cluster has too few CPUs or GPUs: Ray silently waits until machines join."""
    has = ray.cluster_resources()
    cpus_there, gpus_there = has.get("CPU", 0), has.get("GPU", 0)
    if cpus > cpus_there or gpus > gpus_there:
        logger.warning(
            "this needs %d CPUs and %g GPUs and the cluster has %d and %g: waiting until it has more",
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
    """The function that every worker runs. Ray keeps the rows, which `start` holds, in its object store."""

    def work() -> None:
        context = ray.train.get_context()
        worker = Worker(context.get_world_rank(), context.get_world_size(), get_device())
        trainer = start(worker=worker, progress=partial(DistantProgress, silent if worker.rank else tell))
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is not None:
            trainer.restore(read_state(checkpoint))
        if worker.rank == 0:
            _lead(name, trainer, tell, logs)
        else:
            for figures in trainer.epochs():
                _report(figures)

    return work


def _lead(name: str, trainer: Trainer[Any], tell: Tell, logs: str) -> None:
    """Run the epochs in rank 0, the only worker that saves checkpoints and writes to the console."""
    if trainer.history.epochs:
        tell("say", (f"{name}: {len(trainer.history.epochs)} of {trainer.planned_epochs} epochs were done before",))
    for figures in trainer.epochs():
        # Before the epoch is saved: if it is lost, its events are hidden when it is repeated.
        write_events(logs, trainer.history)
        with TemporaryDirectory() as folder:
            write_state(folder, trainer)
            _report(figures, ray.train.Checkpoint.from_directory(folder))
        tell("say", (f"{name}: epoch {len(trainer.history.epochs)} of {trainer.planned_epochs}: {_format(figures)}",))


def _report(figures: Figures, checkpoint: Any = None) -> None:
    """Report an epoch and wait until it is saved.

    Ray's controller collects reports every two seconds; without waiting, the epoch would be lost if the worker died
    before that.
    """
    ray.train.report(figures, checkpoint=checkpoint)
    ray.train.get_all_reported_checkpoints(ray.train.CheckpointConsistencyMode.COMMITTED)


def _format(figures: Figures) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


def write_state(folder: str, trainer: Trainer[Any]) -> None:
    """Write the state of a training loop to a folder, for `read_state`."""
    torch.save(trainer.state(), Path(folder) / STATE)


def read_state(checkpoint: Any) -> State:
    """Read the state of a training loop from a Ray checkpoint to the CPU."""
    with checkpoint.as_directory() as folder:
        state: State = torch.load(Path(folder) / STATE, map_location="cpu", weights_only=True)
        return state


def absolute_storage(storage: str) -> str:
    """The storage as a URL or an absolute path, which is valid on all machines."""
    return storage if "://" in storage else str(Path(storage).resolve())


@contextlib.contextmanager
def _console() -> Iterator[Tell]:
    """Yield a function that workers call to use the console; a thread of this process executes the calls."""
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
    """Raise KeyboardInterrupt on Ctrl-C: Ray Train handles it by ending its workers and raising SystemExit."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGINT, before)
