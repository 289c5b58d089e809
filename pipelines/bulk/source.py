"""What is known of an input before it is scored: its format, its columns, and the parts that it is cut into."""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from pipelines.bulk.records import Csv, JsonLines, TextFormat

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)


class Frozen(BaseModel):
    """An immutable model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(Frozen):
    """A piece of a file."""

    file: str = Field(description="Name of the file in the folder of the input; empty if the input is the file.")
    start: int = Field(description="First byte; in Parquet, first row.")
    end: int = Field(description="The byte or row after the last.")
    line: int = Field(description="Number of the first line, from 1; in Parquet, of the first row.")
    rows: int = Field(description="Number of rows; blank lines are none.")
    checksum: int = Field(description="CRC-32 of the bytes; in Parquet, of the end of the file, which describes it.")


class Source(Frozen):
    """An input: its format, the names of its columns (None in JSON Lines, where each row has its own), its parts."""

    format: Format
    columns: tuple[str, ...] | None
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(part.rows for part in self.parts)

    @property
    def text_format(self) -> TextFormat:
        """How files of text are split into records."""
        return JsonLines() if self.columns is None else Csv(self.columns)


def format_of(name: str) -> Format | None:
    """The format that the ending of a file's name says, if any."""
    return next((known for known in FORMATS if name.endswith(f".{known}")), None)


LEAST_BYTES = 32 * 2**10
MOST_BYTES = 2**20  # a few thousand pairs of sentences: minutes of a CPU core, which a kill loses at most
MOST_BYTES_GPU = 16 * 2**20
PARTS_PER_WORKER = 8  # so that all workers end at about the same time


def part_bytes_of(total: int, workers: int, *, gpu: bool) -> int:
    """The size of a part in bytes for an input of `total` bytes."""
    most = MOST_BYTES_GPU if gpu else MOST_BYTES
    return min(most, max(LEAST_BYTES, total // (PARTS_PER_WORKER * workers)))
