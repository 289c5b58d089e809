"""What a run has shown so far."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pipelines.training.learner import Figures, comparable


@dataclass
class History:
    """What a run has measured.

    losses   of every step, on its batch
    epochs   figures on the dev rows after each epoch
    seconds  that each epoch took, training and measuring
    steps    of each epoch
    """

    losses: list[float] = field(default_factory=list)
    epochs: list[Figures] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def best(self, key: Callable[[Figures], tuple[float, ...]]) -> int:
        """The number of the best epoch from 0, the first of equals. There must be one."""
        return max(range(len(self.epochs)), key=lambda epoch: (comparable(key(self.epochs[epoch])), -epoch))

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return asdict(self)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """The inverse of `as_dict`."""
        return cls(**fields)
