"""The training loop of one process, which may be one of several in step; it knows PyTorch and nothing of Ray.

Nothing that an epoch does depends on how the run came to its beginning: order of rows and dropout are drawn anew from
seed and number of the epoch. A run resumed from a state therefore ends with the very weights of one that never stopped.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from pipelines.training.history import History
from pipelines.training.learner import Figures, Load, Row, unfold
from pipelines.training.settings import TrainingSettings

PREDICTED_AT_ONCE = 64
CPU = torch.device("cpu")
State = dict[str, Any]


class Bar(Protocol):
    """As much of a tqdm bar as is used; Ray's own has no more."""

    def update(self, n: int = 1) -> Any:
        """So many more are done."""

    def close(self) -> Any:
        """Nothing more will come."""


@dataclass(frozen=True)
class Place:
    """Which of the run's processes this is: number `rank` of `world`, which share one process group."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU


class Run(Generic[Row]):
    """A learner on its way through the epochs."""

    def __init__(
        self,
        load: Load[Row],
        train: Sequence[Row],
        dev: Sequence[Row],
        settings: TrainingSettings,
        place: Place | None = None,
        bar: Callable[..., Bar] = tqdm,
    ) -> None:
        self.place = place or Place()
        self.settings = settings
        self.history = History()
        self.best: dict[str, Tensor] = {}
        self._dev, self._bar = dev, bar
        torch.manual_seed(settings.seed)  # for the head, which no base model has
        self.learner = load()
        self._train = unfold(self.learner, train)
        self.learner.model.to(self.place.device)
        self._model = self._synchronised(self.learner.model)
        self._optimizer = torch.optim.AdamW(_groups(self.learner.model, settings), lr=settings.learning_rate)
        steps = settings.steps(len(self._train))
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, lambda step: rate(step, steps, settings))

    @property
    def done(self) -> bool:
        """Whether all epochs are over."""
        return len(self.history.epochs) >= self.settings.epochs

    def epochs(self) -> Iterator[Figures]:
        """Trains and evaluates the epochs that are left; yields the figures of each, when `state` is as after it."""
        while not self.done:
            epoch, began = len(self.history.epochs), time.monotonic()
            losses = self._train_epoch(epoch)
            figures = self.evaluate()
            self.history.losses += losses
            self.history.epochs.append(figures)
            self.history.seconds.append(time.monotonic() - began)
            if self.place.rank == 0 and self.history.best(self.learner.key) == epoch:
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
        return self.learner.measure(self._dev, _interleave(self._gather(ours), len(self._dev)))

    def _train_epoch(self, epoch: int) -> list[float]:
        """One pass over the training rows; returns the loss of every step."""
        self.learner.model.train()
        batches = self._batches(epoch)
        torch.manual_seed(seed_of(self.settings.seed, epoch, self.place.rank))
        bar = self._bar(total=len(batches), desc=f"epoch {epoch + 1} of {self.settings.epochs}", unit="step")
        losses = []
        for batch in batches:
            losses.append(self._step(batch))
            bar.update()
        bar.close()
        return self._mean(torch.stack(losses))

    def _batches(self, epoch: int) -> list[list[Any]]:
        """All rows in the epoch's order, in batches of which only the last may be smaller."""
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(len(self._train)).tolist()
        size = self.settings.batch_size
        return [[self._train[row] for row in order[at : at + size]] for at in range(0, len(order), size)]

    def _step(self, batch: Sequence[Any]) -> Tensor:
        """One step on this process's share of the batch. Returns a scalar whose mean over the processes is the loss."""
        share = batch[self.place.rank :: self.place.world]
        weight = len(share) * self.place.world / len(batch)  # the processes' gradients are averaged
        with self._precision():
            loss = self.learner.loss(self._model, share or batch[:1]) * weight
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.learner.model.parameters(), self.settings.max_grad_norm)
        self._optimizer.step()
        self._schedule.step()
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

    def _gather(self, ours: list[Any]) -> list[list[Any]]:
        """What every process has, by rank."""
        everyones: list[Any] = [ours] * self.place.world
        if self.place.world > 1:
            dist.all_gather_object(everyones, ours)
        return everyones


def rate(step: int, steps: int, settings: TrainingSettings) -> float:
    """The share of the learning rate at a step from 0: up over the warm-up, then constant or down to 0."""
    warmup = round(settings.warmup_ratio * steps)
    if step < warmup:
        return (step + 1) / warmup
    return 1.0 if settings.schedule == "constant" else max(0.0, (steps - step) / max(1, steps - warmup))


def seed_of(*numbers: int) -> int:
    """A seed of its own for every combination of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _groups(model: nn.Module, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Matrices decay, biases and the scales of norms don't."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [one for one in trained if one.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0},
    ]


def _interleave(shares: Sequence[Sequence[Any]], count: int) -> list[Any]:
    """The inverse of taking every so-manieth: `count` things in order."""
    return [shares[number % len(shares)][number // len(shares)] for number in range(count)]
