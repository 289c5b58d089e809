"""The specification of one run among those that are compared or searched."""

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
    """A name for a folder: the label, and a digest of everything that determines the result of the run.

    The digest covers the base's files or commit, and the `repr` of the settings, the task's own options and the rows,
    but not the machines that the run uses.
    """
    return _name(label, (_base_identity(base), settings, options, stages, dev))


def search_name(
    label: str,
    bases: Sequence[Base],
    settings: TrainingSettings,
    options: object,
    stages: Sequence[object],
    dev: Sequence[object],
) -> str:
    """Like `run_name`, for a search among several bases; `options` includes the search space."""
    return _name(label, ([_base_identity(base) for base in bases], settings, options, stages, dev))


def _base_identity(base: Base) -> tuple[str, str | None]:
    return identity(base.source), base.revision


def _name(label: str, decides: tuple[object, ...]) -> str:
    plain = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in label)
    return f"{plain}-{hashlib.sha256(repr(decides).encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class RunSpec(Generic[Row]):
    """A model, named as the user named it, with a head of its task and all settings of its run, including the seed."""

    recipe: Recipe[Row]
    model: str
    base: Base
    head: str
    options: BaseModel
    settings: TrainingSettings

    @property
    def label(self) -> str:
        """The name of the run in tables, which is the same for all seeds."""
        return ", ".join([self.model, *self._head_setting.values()])

    @property
    def load(self) -> Load[Row]:
        """A picklable function that makes the learner."""
        base = replace(self.base, attention_dropout=self.settings.attention_dropout, layers=self.settings.layers)
        return partial(self.recipe.heads[self.head], base, self.options)

    def run_name(self, data: Data[Row]) -> str:
        """The name of its run on the data, which is that of its folder in the storage."""
        label = "-".join([self.recipe.task, *self._head_setting.values(), self.base.name, str(self.settings.seed)])
        return run_name(label, self.base, self.settings, (self.head, self.options), data.stages, data.dev)

    def provenance(self, data: Data[Row], history: History, command: str, minutes: float) -> Provenance:
        """The provenance of its checkpoint, which was made by `command` in `minutes`."""
        return Provenance(
            task=self.recipe.task,
            base=self.base,
            training=Training(
                data=data.train_names,
                seed=self.settings.seed,
                command=command,
                minutes=round(minutes, 1),
            ),
            settings=self.settings.model_dump() | self._head_setting | self.options.model_dump(),
            dev=data.dev_name,
            history=history,
            best=self._kept(history),
            windows=self.recipe.windows(self.options),
        )

    def _kept(self, history: History) -> int:
        """The number of the epoch, from 0, whose weights are kept."""
        return len(history.epochs) - 1 if self.settings.keep == "last" else history.best(self.recipe.sort_key)

    @property
    def _head_setting(self) -> dict[str, str]:
        """The head as a setting if the task has several heads, otherwise empty."""
        return {"head": self.head} if len(self.recipe.heads) > 1 else {}
