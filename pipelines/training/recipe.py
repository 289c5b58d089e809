"""What the training commands need to know about a task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from pydantic import BaseModel

from pipelines.checkpoints.tasks.definition import Examples
from pipelines.checkpoints.tasks.registry import TASKS
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
    """A column of the task's data: its default name, and its meaning in the help text of the command line."""

    default: str
    meaning: str


@dataclass(frozen=True)
class Data(Generic[Row]):
    """The rows to train on, in stages, the rows to measure on, and the name that the user gave the latter."""

    stages: list[Stage[Row]]
    dev: list[Row]
    dev_name: str

    @property
    def sources(self) -> list[Source[Row]]:
        """The sources of all stages, in order."""
        return [source for stage in self.stages for source in stage.sources]

    @property
    def train_names(self) -> list[str]:
        """The names that the user gave the sources to train on, without repetition."""
        return list(dict.fromkeys(source.name for source in self.sources))


def no_remark(_model: str, _figures: Figures) -> str | None:
    """A `Recipe.remark` that never makes a remark."""
    return None


def no_windows(_options: Any) -> None:
    """A `Recipe.windows` for tasks that read texts as a whole."""


CALIBRATION_ROWS = 300  # or up to twice as many, since the step is a whole number


@dataclass(frozen=True)
class Recipe(Generic[Row]):
    """How to train for a task.

    task              The task of the exported checkpoints.
    models            Hub ids of the models that are compared if the user names none.
    heads             Functions, by the name of the head, that make a learner from a base and `options`. If there are
                      several heads, the user can choose among them on the command line.
    options           The task's own settings; each field is an option of the command line.
    figures           The figures to compare in tables: the learner's name of each, and its title.
    sort_key          The function that all learners of the task have as `Learner.sort_key`.
    train             The file to train on if the user names none, relative to the data folder.
    dev               The file to measure on if the user names none, relative to the data folder.
    columns           The columns of the data, by the project's names for them; each has an option for its real name.
    read              A function that reads the rows of a source. It takes the source, the real names of the columns,
                      and the split to read if the source is a data set.
    without_dev_rows  A function that takes the rows to train on and those to measure on, and returns the former
                      without the rows that are also among the latter.
    remark            A function that takes a model's name and its last figures, and returns a warning for the log,
                      or None.
    training          The class of the settings of a run, with the task's defaults.
    source            The description of what `read` takes as a source, for the help text of the command line.
    windows           A function that returns the window settings in `options`, or None if the task has no windows.
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
    without_dev_rows: Callable[[list[Row], list[Row]], list[Row]]
    remark: Callable[[str, Figures], str | None] = no_remark
    training: type[TrainingSettings] = TrainingSettings
    source: str = SOURCE
    windows: Callable[[Any], WindowSettings | None] = no_windows

    @property
    def default_train(self) -> str:
        """The full path of `train`."""
        return str(data_folder() / self.train)

    @property
    def default_dev(self) -> str:
        """The full path of `dev`."""
        return str(data_folder() / self.dev)

    def int8_examples(self, data: Data[Row]) -> tuple[Examples, Examples]:
        """The examples to calibrate int8 on, evenly spread over the last source, and all dev rows to measure it on."""
        last = data.sources[-1]
        spread = last.rows[:: max(1, len(last.rows) // CALIBRATION_ROWS)]
        task = TASKS[self.task]
        return task.examples(last.name, spread), task.examples(data.dev_name, data.dev)
