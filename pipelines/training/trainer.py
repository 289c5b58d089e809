"""The training loop of one process, which may be one of several in step; it knows PyTorch and nothing of Ray.

Nothing that an epoch does depends on how the run came to its beginning: order of rows and dropout are drawn anew from
seed and number of the epoch. A run resumed from a state therefore ends with the very weights of one that never stopped.
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
from pipelines.training.optimization import optimizer_of, rate
from pipelines.training.results import History
from pipelines.training.settings import TrainingSettings
from pipelines.training.stage import Stage

PREDICTED_AT_ONCE = 64
CPU = torch.device("cpu")
State = dict[str, Any]


class Progress(Protocol):
    """Who is told of every step of an epoch."""

    def step(self, loss: Tensor) -> None:
        """One more is done, with this loss (a scalar)."""

    def close(self) -> None:
        """The epoch is over."""


class NoProgress:
    """Nobody is told."""

    def __init__(self, total: int, text: str) -> None:
        pass

    def step(self, loss: Tensor) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Worker:
    """Which of the run's processes this is: number `rank` of `world`, which share one process group."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU


class Trainer(Generic[Row]):
    """A learner on its way through the epochs."""

    def __init__(
        self,
        load: Load[Row],
        stages: Sequence[Stage[Row]],
        dev: Sequence[Row],
        settings: TrainingSettings,
        place: Worker | None = None,
        progress: Callable[[int, str], Progress] = NoProgress,
    ) -> None:
        self.place = place or Worker()
        self.settings = settings
        self.history = History()
        self.best: dict[str, Tensor] = {}
        self._dev, self._progress = dev, progress
        torch.manual_seed(settings.seed)  # for the head, which no base model has
        self.learner = load()
        if isinstance(self.learner, Prepares):
            self.learner.prepare([row for source in stages[0].sources for row in source.rows])
        self._stages = [stage.map(partial(unfold, self.learner)) for stage in stages]
        self.learner.model.to(self.place.device)
        self._model = self._synchronised(self.learner.model)
        self._optimizer = optimizer_of(self.learner.model, settings)
        steps = sum(self._steps(epoch) for epoch in range(self.planned))
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, lambda step: rate(step, steps, settings))

    @property
    def planned(self) -> int:
        """The epochs of all stages, if none is saved by stopping early."""
        return self.settings.all_epochs(len(self._stages))

    @property
    def done(self) -> bool:
        """Whether all epochs are over, or patience is."""
        return len(self.history.epochs) >= self.planned or self._stopped_early()

    def epochs(self) -> Iterator[Figures]:
        """Trains and evaluates the epochs that are left; yields the figures of each, when `state` is as after it."""
        while not self.done:
            epoch, began = len(self.history.epochs), time.monotonic()
            losses = self._train_epoch(epoch)
            figures = self.evaluate()
            self.history.losses += losses
            self.history.epochs.append(figures)
            self.history.steps.append(len(losses))
            self.history.seconds.append(time.monotonic() - began)
            if self.place.rank == 0 and self.history.best(self.learner.sort_key) == epoch:
                self.best = {name: value.cpu().clone() for name, value in self.learner.model.state_dict().items()}
            yield figures

    def state(self) -> State:
        """Tensors and plain data, from which `restore` goes on; after the last epoch only history and best weights.

        Of rank 0: the others hold no best weights.
        """
        state: State = {"history": self.history.as_dict(), "best": self.best}
        if not self.done:
            state["model"] = self.learner.model.state_dict()
            state["optimizer"] = self._optimizer.state_dict()
            state["schedule"] = self._schedule.state_dict()
        return state

    def restore(self, state: State) -> None:
        """Go on from what `state` returned, in whichever process of whichever run of the same settings."""
        self.history, self.best = History.of(state["history"]), state["best"]
        if not self.done:
            self.learner.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])

    def evaluate(self) -> Figures:
        """The figures on the dev rows, of which each process predicts a share; all of them return the same."""
        self.learner.model.eval()
        share = self._dev[self.place.rank :: self.place.world]
        starts = range(0, len(share), PREDICTED_AT_ONCE)
        with torch.inference_mode(), self._precision():
            ours = [made for at in starts for made in self.learner.predict(share[at : at + PREDICTED_AT_ONCE])]
        return self.learner.measure(self._dev, _interleave(self._all_gather(ours), len(self._dev)))

    def _train_epoch(self, epoch: int) -> list[float]:
        """One pass over the rows of the epoch's stage; returns the loss of every step."""
        self.learner.model.train()
        batches = self._batches(epoch)
        torch.manual_seed(seed_of(self.settings.seed, epoch, self.place.rank))
        progress = self._progress(len(batches), f"epoch {epoch + 1} of {self.planned}")
        losses = []
        for batch in batches:
            losses.append(self._step(batch))
            progress.step(losses[-1])
        progress.close()
        return self._mean(torch.stack(losses))

    def _stage(self, epoch: int) -> Stage[Any]:
        return self._stages[self.settings.stage_of(epoch, len(self._stages))]

    def _steps(self, epoch: int) -> int:
        return -(-self._stage(epoch).taken // self.settings.batch_size)

    def _batches(self, epoch: int) -> list[list[Any]]:
        """The epoch's rows in its order."""
        length = self.learner.length if self.settings.group_by_length else None
        return self._stage(epoch).batches(self.settings.batch_size, [self.settings.seed, epoch], length)

    def _stopped_early(self) -> bool:
        """Whether the last stage has gone on for `patience` epochs without a better one."""
        first = self.planned - self.settings.epochs
        last_stage = self.history.epochs[first:]
        if not self.settings.patience or not last_stage:
            return False
        best = History(epochs=last_stage).best(self.learner.sort_key)
        return len(last_stage) - 1 - best >= self.settings.patience

    def _step(self, batch: Sequence[Any]) -> Tensor:
        """One step on this process's share of the batch. Returns a scalar whose mean over the processes is the loss."""
        self._optimizer.zero_grad()
        parts = [batch[number :: self.settings.accumulation] for number in range(self.settings.accumulation)]
        loss = torch.stack([self._learn(part, len(batch)) for part in parts if part]).sum()
        nn.utils.clip_grad_norm_(self.learner.model.parameters(), self.settings.max_grad_norm)
        self._optimizer.step()
        self._schedule.step()
        return loss

    def _learn(self, part: Sequence[Any], whole: int) -> Tensor:
        """Add the gradients of this process's share of a part of a batch of `whole` rows. Returns its loss (a scalar),
        weighted so that the mean over processes of the sum over parts is the mean over the rows."""
        share = part[self.place.rank :: self.place.world]
        weight = len(share) * self.place.world / whole  # the processes' gradients are averaged
        with self._precision():
            loss = self.learner.loss(self._model, share or part[:1]) * weight
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _precision(self) -> torch.autocast:
        return torch.autocast(
            self.place.device.type, dtype=torch.bfloat16, enabled=self.settings.precision == "bfloat16"
        )

    def _synchronised(self, model: nn.Module) -> nn.Module:
        if self.place.world == 1:
            return model
        return DistributedDataParallel(model, [self.place.device] if self.place.device.type == "cuda" else None)

    def _mean(self, losses: Tensor) -> list[float]:
        """The processes' mean of losses (steps,)."""
        if self.place.world > 1:
            dist.all_reduce(losses)
        return [float(loss) for loss in (losses / self.place.world).tolist()]

    def _all_gather(self, ours: list[Any]) -> list[list[Any]]:
        """What every process has, by rank."""
        everyones: list[Any] = [ours] * self.place.world
        if self.place.world > 1:
            dist.all_gather_object(everyones, ours)
        return everyones


def seed_of(*numbers: int) -> int:
    """A seed of its own for every combination of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _interleave(shares: Sequence[Sequence[Any]], count: int) -> list[Any]:
    """The inverse of taking every so-manieth: `count` things in order."""
    return [shares[number % len(shares)][number // len(shares)] for number in range(count)]
