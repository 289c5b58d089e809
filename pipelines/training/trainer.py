"""The training loop of one process, or of one of several processes that train together. It does not use Ray.

The order of rows and the dropout of an epoch depend only on the seed and the number of the epoch. Therefore a run that
was resumed ends with exactly the weights of a run that never stopped.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipelines.training.learner import Figures, Load, Prepares, Row, unfold
from pipelines.training.optimization import optimizer_of, rate_factor
from pipelines.training.results import History
from pipelines.training.settings import TrainingSettings
from pipelines.training.stage import Stage

PREDICTED_AT_ONCE = 64
CPU = torch.device("cpu")
State = dict[str, Any]


class Progress(Protocol):
    """Receives the loss after every step of an epoch."""

    def step(self, loss: Tensor) -> None:
        """Count a step and take its loss (a scalar)."""

    def close(self) -> None:
        """End the epoch."""


class NoProgress:
    """Ignores the progress of an epoch."""

    def __init__(self, total: int, text: str) -> None:
        pass

    def step(self, loss: Tensor) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Worker:
    """Identifies a process of a run: number `rank` of the `world` processes of one process group, and its device."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU


class Trainer(Generic[Row]):
    """The training loop of one process: it trains a learner epoch by epoch, and keeps its history and best weights."""

    def __init__(
        self,
        load: Load[Row],
        stages: Sequence[Stage[Row]],
        dev: Sequence[Row],
        settings: TrainingSettings,
        worker: Worker | None = None,
        progress: Callable[[int, str], Progress] = NoProgress,
    ) -> None:
        self.worker = worker or Worker()
        self.settings = settings
        self.history = History()
        self.best: dict[str, Tensor] = {}
        self._dev, self._progress = dev, progress
        torch.manual_seed(settings.seed)  # for the new weights of the head
        self.learner = load()
        if isinstance(self.learner, Prepares):
            self.learner.prepare([row for source in stages[0].sources for row in source.rows])
        self._stages = [stage.map(partial(unfold, self.learner)) for stage in stages]
        self.learner.model.to(self.worker.device)
        self._model = self._synchronised(self.learner.model)
        self._optimizer = optimizer_of(self.learner.model, settings)
        steps = sum(self._steps(epoch) for epoch in range(self.planned_epochs))
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: rate_factor(step, steps, settings)
        )

    @property
    def planned_epochs(self) -> int:
        """The number of epochs of all stages, without early stopping."""
        return self.settings.all_epochs(len(self._stages))

    @property
    def done(self) -> bool:
        """Whether all epochs are done or the run stopped early."""
        return len(self.history.epochs) >= self.planned_epochs or self._stopped_early()

    def epochs(self) -> Iterator[Figures]:
        """Train and evaluate the remaining epochs. Yield the figures of each after updating history and weights."""
        while not self.done:
            epoch, began = len(self.history.epochs), time.monotonic()
            losses = self._train_epoch(epoch)
            figures = self.evaluate()
            self.history.losses += losses
            self.history.epochs.append(figures)
            self.history.steps.append(len(losses))
            self.history.seconds.append(time.monotonic() - began)
            if self.worker.rank == 0 and self._is_kept(epoch):
                self.best = {name: value.cpu().clone() for name, value in self.learner.model.state_dict().items()}
            yield figures

    def _is_kept(self, epoch: int) -> bool:
        """Whether the weights after this epoch, the last one so far, replace those that were kept."""
        return self.settings.keep == "last" or self.history.best(self.learner.sort_key) == epoch

    def state(self) -> State:
        """Tensors and plain data from which `restore` continues; after the last epoch only history and best weights.

        Use the state of rank 0, since the other processes hold no best weights.
        """
        state: State = {"history": self.history.as_dict(), "best": self.best}
        if not self.done:
            state["model"] = self.learner.model.state_dict()
            state["optimizer"] = self._optimizer.state_dict()
            state["schedule"] = self._schedule.state_dict()
        return state

    def restore(self, state: State) -> None:
        """Continue from what `state` returned, in any process of a run with the same settings."""
        self.history, self.best = History.of(state["history"]), state["best"]
        if not self.done:
            self.learner.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])

    def evaluate(self) -> Figures:
        """The figures on the dev rows. Each process predicts a share of the rows, and all return the same figures."""
        self.learner.model.eval()
        share = self._dev[self.worker.rank :: self.worker.world]
        starts = range(0, len(share), PREDICTED_AT_ONCE)
        with torch.inference_mode(), self._precision():
            ours = [made for at in starts for made in self.learner.predict(share[at : at + PREDICTED_AT_ONCE])]
        return self.learner.measure(self._dev, _interleave(self._all_gather(ours), len(self._dev)))

    def _train_epoch(self, epoch: int) -> list[float]:
        """Train on the rows of the epoch's stage, and return the loss of every step."""
        self.learner.model.train()
        batches = self._batches(epoch)
        torch.manual_seed(seed_of(self.settings.seed, epoch, self.worker.rank))
        progress = self._progress(len(batches), f"epoch {epoch + 1} of {self.planned_epochs}")
        losses = []
        for batch in batches:
            losses.append(self._step(batch))
            progress.step(losses[-1])
        progress.close()
        return self._mean(torch.stack(losses))

    def _stage(self, epoch: int) -> Stage[Any]:
        return self._stages[self.settings.stage_of(epoch, len(self._stages))]

    def _steps(self, epoch: int) -> int:
        return -(-self._stage(epoch).rows_per_epoch // self.settings.batch_size)

    def _batches(self, epoch: int) -> list[list[Any]]:
        """The batches of the epoch, in their order."""
        length = self.learner.length if self.settings.group_by_length else None
        return self._stage(epoch).batches(self.settings.batch_size, [self.settings.seed, epoch], length)

    def _stopped_early(self) -> bool:
        """Whether the last `patience` epochs of the last stage brought no new best epoch."""
        first = self.planned_epochs - self.settings.epochs
        last_stage = self.history.epochs[first:]
        if not self.settings.patience or not last_stage:
            return False
        best = History(epochs=last_stage).best(self.learner.sort_key)
        return len(last_stage) - 1 - best >= self.settings.patience

    def _step(self, batch: Sequence[Any]) -> Tensor:
        """Train on this process's share of a batch. Returns a scalar; its mean over the processes is the loss."""
        self._optimizer.zero_grad()
        parts = [batch[number :: self.settings.accumulation] for number in range(self.settings.accumulation)]
        loss = torch.stack([self._learn(part, len(batch)) for part in parts if part]).sum()
        nn.utils.clip_grad_norm_(self.learner.model.parameters(), self.settings.max_grad_norm)
        self._optimizer.step()
        self._schedule.step()
        return loss

    def _learn(self, part: Sequence[Any], whole: int) -> Tensor:
        """Add the gradients of this process's share of a part of a batch; the batch has `whole` rows.

        Returns the loss of the share (a scalar). It is weighted so that the sum over the parts, averaged over the
        processes, is the mean over the rows of the batch.
        """
        share = part[self.worker.rank :: self.worker.world]
        weight = len(share) * self.worker.world / whole  # gradients are averaged over the processes
        with self._precision():
            loss = self.learner.loss(self._model, share or part[:1]) * weight
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _precision(self) -> torch.autocast:
        return torch.autocast(
            self.worker.device.type, dtype=torch.bfloat16, enabled=self.settings.precision == "bfloat16"
        )

    def _synchronised(self, model: nn.Module) -> nn.Module:
        if self.worker.world == 1:
            return model
        return DistributedDataParallel(model, [self.worker.device] if self.worker.device.type == "cuda" else None)

    def _mean(self, losses: Tensor) -> list[float]:
        """The losses (steps,), averaged over the processes."""
        if self.worker.world > 1:
            dist.all_reduce(losses)
        return [float(loss) for loss in (losses / self.worker.world).tolist()]

    def _all_gather(self, ours: list[Any]) -> list[list[Any]]:
        """The values of every process, by rank."""
        gathered: list[Any] = [ours] * self.worker.world
        if self.worker.world > 1:
            dist.all_gather_object(gathered, ours)
        return gathered


def seed_of(*numbers: int) -> int:
    """A seed that differs for every combination of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _interleave(shares: Sequence[Sequence[Any]], count: int) -> list[Any]:
    """Merge the shares of `evaluate` to `count` values in order; the n-th share starts at the n-th value."""
    return [shares[number % len(shares)][number // len(shares)] for number in range(count)]
