"""What a run scores and how: recorded in the folder of its output, so that only the same run can go on in it."""

from collections.abc import Mapping
from typing import Any, Literal

import pyarrow
from pydantic import Field

from pipelines.bulk.source import Format, Frozen, Source
from pipelines.bulk.tasks import BULK_TASKS, BulkTask
from pipelines.engines.choice import EngineSettings
from pipelines.errors import DataError, DataNotFound, MalformedInput, OutputTaken
from pipelines.format.manifest import Role


class Options(Frozen):
    """The options that change what is written."""

    task: str = Field(description="A key of `BULK_TASKS`.")
    columns: dict[str, str] = Field(description="The column of each field of the task.")
    keep: tuple[str, ...] | None = Field(description="Columns of the input that are copied; None: the default.")
    format: Format = Field(description="Of the output.")
    role: Role = Field(description="For embeddings: the prompt that is put before the texts.")
    engine: EngineSettings


class Finished(Frozen):
    """How many rows were scored and set aside."""

    scored: int
    set_aside: int


class Run(Frozen):
    """One run of the command, until all rows of its input are scored."""

    version: Literal[1] = 1
    checkpoint: str = Field(description="Name of the checkpoint.")
    digest: str = Field(description="Digest of its manifest.")
    options: Options
    part_bytes: int
    source: Source
    finished: Finished | None = None

    @property
    def task(self) -> BulkTask:
        """The task."""
        return BULK_TASKS[self.options.task]

    def part_digits(self, number: int) -> str:
        """The number of a part as in names of files, which are then sorted by it."""
        return str(number).zfill(max(5, len(str(len(self.source.parts) - 1))))

    def part_name(self, number: int) -> str:
        """The name of the file of a part."""
        return f"part-{self.part_digits(number)}.{self.options.format}"

    def refuse_other(self, other: "Run", place: str) -> None:
        """Raise OutputTaken, with what differs, if the output of this run in `place` can't be that of `other`."""
        faults = [
            _WORDS.get(name, f"--{name}") for name, value in self.options if value != getattr(other.options, name)
        ]
        if self.digest != other.digest:
            faults.insert(0, f"the checkpoint ({self.checkpoint} {self.digest})")
        if self.part_bytes != other.part_bytes:
            faults.append("--part-bytes")
        elif self.source != other.source:
            faults.insert(0, "the input")
        if faults:
            raise OutputTaken(place, f"belongs to another run, which differs in {', '.join(faults)}; name a new folder")

    @property
    def kept(self) -> tuple[str, ...] | None:
        """The columns of the input that are copied; None: all of a row.

        Rows of JSON Lines have no columns in common. To another format, only the fields of the task are copied by
        default.
        """
        if self.options.keep is not None or self.options.format == "jsonl":
            return self.options.keep
        return tuple(self.task.fields) if self.source.columns is None else self.source.columns

    @property
    def read_columns(self) -> list[str] | None:
        """The columns of the input that are read; None: all."""
        if self.kept is None or self.source.columns is None:
            return None
        fields = {name for column in self.options.columns.values() for name in column.split("|")}
        return [name for name in self.source.columns if name in fields or name in self.kept]

    def refuse_unfit(self) -> None:
        """Raise DataNotFound if the input lacks a column, and DataError if the output can't have all of its columns."""
        if self.options.format == "csv" and any(map(pyarrow.types.is_nested, self.task.results.values())):
            raise DataError("CSV", f"can't hold {self.options.task}; choose another --format")
        columns = self.source.columns
        if columns is None:
            return
        for wanted in [*self.options.columns.values(), *(self.options.keep or ())]:
            if not set(wanted.split("|")) & set(columns):
                raise DataNotFound("the input", f"has no column {wanted}; it has {', '.join(columns)}")
        for name in self.task.results:
            if name in (columns if self.kept is None else self.kept):
                raise DataError("the input", f"has a column {name} already; name others to copy with --keep")

    def types(self, schema: pyarrow.Schema | None) -> dict[str, pyarrow.DataType]:
        """The columns of the output in order with their types. `schema` is that of a Parquet input.

        For JSON Lines, whose rows may differ, it is not used.
        """
        names = self.kept if self.kept is not None else self.source.columns or ()
        copied = {name: schema.field(name).type if schema else pyarrow.string() for name in names}
        return copied | dict(self.task.results)

    def copied(self, cells: Mapping[str, Any], texts: tuple[str, ...]) -> dict[str, Any]:
        """The cells of a row that are copied. Raises MalformedInput if one has the name of a result."""
        if self.kept is None:
            copied = dict(cells)
        elif self.source.columns is None and self.options.keep is None:
            copied = dict(zip(self.task.fields, texts, strict=True))
        else:
            copied = {name: cells[name] for name in self.kept if name in cells}
        for name in self.task.results:
            if name in copied:
                raise MalformedInput(f"the row has a field {name} already; name others to copy with --keep")
        return copied


_WORDS = {"task": "the task"}
