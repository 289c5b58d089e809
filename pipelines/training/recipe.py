"""What a task brings to the commands that train for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from pydantic import BaseModel

from pipelines.checkpoints.quality import Examples
from pipelines.format.manifest import Task
from pipelines.format.windows import WindowSettings
from pipelines.text.files import data_folder
from pipelines.text.rows import SOURCE, Row
from pipelines.training.base import Base
from pipelines.training.learner import Figures, Learner
from pipelines.training.settings import TrainingSettings
from pipelines.training.stage import Source, Stage


@dataclass(frozen=True)
class Column:
    """A column that the rows are made of, for the command line."""

    default: str
    meaning: str


@dataclass(frozen=True)
class Data(Generic[Row]):
    """What to train on, rows to measure on, and what the user named them by."""

    stages: list[Stage[Row]]
    dev: list[Row]
    dev_name: str

    @property
    def sources(self) -> list[Source[Row]]:
        """Of all stages, in order."""
        return [source for stage in self.stages for source in stage.sources]

    @property
    def train_names(self) -> list[str]:
        """What the user named the rows to train on by, each once."""
        return list(dict.fromkeys(source.name for source in self.sources))


def unremarkable(_model: str, _figures: Figures) -> str | None:
    """Nothing to say."""
    return None


def without_windows(_options: Any) -> None:
    """The task reads texts as a whole."""


CALIBRATED_ON = 300


@dataclass(frozen=True)
class Recipe(Generic[Row]):
    """How a task trains, for any base.

    task     whose checkpoints come out
    models   to compare where the user names none: Hub ids
    heads    by name, what makes a learner of a base and `options`; one of several is named on the command line
    options  the task's own settings: one option each
    figures  to compare in tables: their titles by the learner's names for them
    sort_key as every learner of the task has it
    train    file to train on where the user names none, within the folder of data
    dev      likewise to measure on
    columns  by what they are called here; there is an option for each
    read     the rows of a source, given the columns' names there and the split, if it is a data set
    examples the rows of a source, by its name, as what int8 is calibrated and measured on
    apart    the rows to train on, without those that are among the rows to measure on
    remark   what to say, if anything, of a run of a model that ends with these figures
    training the settings of every run, with the task's defaults
    source   what `read` reads, for the command line
    windows  that the `options` say contexts are cut into, where the task has any
    """

    task: Task
    models: Sequence[str]
    heads: Mapping[str, Callable[[Base, Any], Learner[Row]]]
    options: type[BaseModel]
    figures: Mapping[str, str]
    sort_key: Callable[[Figures], tuple[float, ...]]
    train: str
    dev: str
    columns: Mapping[str, Column]
    read: Callable[[str, Sequence[str], str], list[Row]]
    examples: Callable[[str, Sequence[Row]], Examples]
    apart: Callable[[list[Row], list[Row]], list[Row]]
    remark: Callable[[str, Figures], str | None] = unremarkable
    training: type[TrainingSettings] = TrainingSettings
    source: str = SOURCE
    windows: Callable[[Any], WindowSettings | None] = without_windows

    @property
    def default_train(self) -> str:
        """The whole path of `train`."""
        return str(data_folder() / self.train)

    @property
    def default_dev(self) -> str:
        """The whole path of `dev`."""
        return str(data_folder() / self.dev)

    def int8_examples(self, data: Data[Row]) -> tuple[Examples, Examples]:
        """What int8 is calibrated on, rows from all over the last source, and what it is measured on, all dev rows."""
        last = data.sources[-1]
        spread = last.rows[:: max(1, len(last.rows) // CALIBRATED_ON)]
        return self.examples(last.name, spread), self.examples(data.dev_name, data.dev)
