"""One run among those that are compared or searched through."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic

from pydantic import BaseModel

from pipelines.checkpoints.resolve import identity
from pipelines.format.manifest import Training
from pipelines.text.rows import Row
from pipelines.training.base import Base
from pipelines.training.export import Provenance
from pipelines.training.learner import Load
from pipelines.training.recipe import Data, Recipe
from pipelines.training.results import History
from pipelines.training.settings import TrainingSettings


def run_name(
    label: str, base: Base, settings: TrainingSettings, options: object, stages: Sequence[object], dev: Sequence[object]
) -> str:
    """The label, fit to name a folder, and a digest of all that decides what the run computes.

    That is the base's files or commit, settings, the task's own options, and rows, by their `repr`; not where it runs.
    """
    return _name(label, (_of(base), settings, options, stages, dev))


def search_name(
    label: str,
    bases: Sequence[Base],
    settings: TrainingSettings,
    options: object,
    stages: Sequence[object],
    dev: Sequence[object],
) -> str:
    """As `run_name`, for a search among several bases; `options` hold the space, too."""
    return _name(label, ([_of(base) for base in bases], settings, options, stages, dev))


def _of(base: Base) -> tuple[str, str | None]:
    return identity(base.source), base.revision


def _name(label: str, decides: tuple[object, ...]) -> str:
    plain = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in label)
    return f"{plain}-{hashlib.sha256(repr(decides).encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class RunSpec(Generic[Row]):
    """A model, as the user named it, with one of its task's heads, and all settings of its run, the seed among them."""

    recipe: Recipe[Row]
    model: str
    base: Base
    head: str
    options: BaseModel
    settings: TrainingSettings

    @property
    def label(self) -> str:
        """The same for all seeds."""
        return ", ".join([self.model, *self._own_head.values()])

    @property
    def load(self) -> Load[Row]:
        """Makes the learner."""
        base = replace(self.base, attention_dropout=self.settings.attention_dropout, layers=self.settings.layers)
        return partial(self.recipe.heads[self.head], base, self.options)

    def run_name(self, data: Data[Row]) -> str:
        """Of its run on the data."""
        label = "-".join([self.recipe.task, *self._own_head.values(), self.base.name, str(self.settings.seed)])
        return run_name(label, self.base, self.settings, (self.head, self.options), data.stages, data.dev)

    def provenance(self, data: Data[Row], history: History, command: str, minutes: float) -> Provenance:
        """How its checkpoint came to be: by a command that took so long."""
        return Provenance(
            task=self.recipe.task,
            base=self.base,
            training=Training(
                data=data.train_names,
                seed=self.settings.seed,
                command=command,
                minutes=round(minutes, 1),
            ),
            settings=self.settings.model_dump() | self._own_head | self.options.model_dump(),
            dev=data.dev_name,
            history=history,
            best=history.best(self.recipe.sort_key),
            windows=self.recipe.windows(self.options),
        )

    @property
    def _own_head(self) -> dict[str, str]:
        """Where there is more than one."""
        return {"head": self.head} if len(self.recipe.heads) > 1 else {}
