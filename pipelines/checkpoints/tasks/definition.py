"""What importing, checking and measuring checkpoints need to know of a task. `registry` has all tasks."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import Model, ModelStage
from pipelines.format.loading import refusing_damage
from pipelines.format.manifest import Manifest, Task
from pipelines.text.token_batch import TokenBatch

Row = TypeVar("Row")
Pipeline = Callable[[Sequence[Any]], Awaitable[list[Any]]]
"""Takes items of a task and gives one result or error for each, in order."""
Scores = tuple[float, ...]
"""A cosine, a score from 0 to 5, a probability, or the scores of the best span and of no answer."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Items of a task and their expected results: a score, whether acceptable, or the texts of the answers."""

    name: str
    task: Task
    inputs: Sequence[Any]
    expected: Sequence[Any]


class TaskDefinition(ABC, Generic[Row]):
    """A task. Its items are texts or pairs of texts; a row is an item of a data file with its expected result."""

    name: ClassVar[Task]
    golden: ClassVar[Sequence[tuple[str, ...]]]
    """Inputs whose answers every checkpoint records; each is the texts of one item."""
    metric: ClassVar[str]
    """The figure that decides whether an int8 graph is good enough; in lower case it is a key of `figures`."""

    @abstractmethod
    def load(self, folder: Path, manifest: Manifest, settings: EngineSettings) -> Model:
        """Load the model of a verified checkpoint, with the default limits of the task. Raises CheckpointError."""

    @abstractmethod
    def pipeline(self, folder: Path, manifest: Manifest, run: ModelStage) -> Pipeline:
        """Load the checkpoint's tokenizer, and make the pipeline of it and a model. Raises CheckpointError."""

    @abstractmethod
    def tokenize(self, folder: Path, manifest: Manifest, items: Sequence[Any]) -> TokenBatch:
        """Load the checkpoint's tokenizer, and tokenize items for the model."""

    @abstractmethod
    def item(self, text: str, other: str) -> Any:
        """An item that is mostly `text`: only it, the two as a pair, or a context and a question."""

    def item_of(self, texts: tuple[str, ...]) -> Any:
        """The item that consists of these texts."""
        return texts

    def probes(self, texts: Sequence[str], others: Sequence[str]) -> list[Any]:
        """One item for each text, with `others` by turns."""
        return [self.item(text, others[number % len(others)]) for number, text in enumerate(texts)]

    @abstractmethod
    def answer(self, result: Any) -> float | str:
        """What is recorded of the result of a golden input: a number, or the text of an answer."""

    @abstractmethod
    def scores(self, result: Any) -> Scores:
        """The numbers of a result that must equal those of the model's own library."""

    @abstractmethod
    def output(self, result: Any) -> Any:
        """What `figures` needs of a result."""

    @abstractmethod
    def figures(self, outputs: Sequence[Any], expected: Sequence[Any], threshold: float | None) -> dict[str, float]:
        """Figures by name, from -1 to 1, of the outputs for examples. `threshold` is the checkpoint's own."""

    @abstractmethod
    def rows(self, path: Path) -> list[Row]:
        """Read a data file in a usual format of the task, also as `.xz`. Raises any exception for other content."""

    @abstractmethod
    def examples(self, name: str, rows: Sequence[Row]) -> Examples:
        """Rows as examples. `name` says where they come from."""

    def read(self, path: Path) -> Examples:
        """Read a data file. Raises CheckpointDamaged if it is missing or in another format."""
        with refusing_damage(path):
            return self.examples(path.name, self.rows(path))
