"""Read ranges of rows of Parquet files."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, pairwise
from typing import Any

import pyarrow
from pyarrow import parquet

from pipelines.bulk.storage import Location
from pipelines.errors import BadRow

BATCH_ROWS = 1024
FOOTER_BYTES = 8  # at the very end: the length of the description before them, and a magic word


@contextmanager
def opened_parquet(file: Location) -> Iterator[parquet.ParquetFile]:
    """The opened file. Raises BadRow if it is not Parquet, or damaged where it is read."""
    try:
        with parquet.ParquetFile(file.path, filesystem=file.filesystem) as opened:
            yield opened
    except pyarrow.ArrowInvalid as error:
        raise BadRow(file.name, f"is damaged, or not a Parquet file: {error}") from error


def checksum_of_footer(file: Location) -> int:
    """The CRC-32 of the end of a Parquet file: the places, sizes and extremes of everything that is in it."""
    size = file.info().size
    length = int.from_bytes(file.read_range(max(0, size - FOOTER_BYTES), size)[:4], "little") + FOOTER_BYTES
    return zlib.crc32(file.read_range(max(0, size - length), size))


def rows_between(file: Location, start: int, end: int, columns: list[str]) -> Iterator[dict[str, Any]]:
    """The rows [start, end), with these columns. Raises BadRow if the file is damaged there."""
    with opened_parquet(file) as opened:
        sizes = (opened.metadata.row_group(number).num_rows for number in range(opened.num_row_groups))
        bounds = list(pairwise(accumulate(sizes, initial=0)))
        groups = [number for number, (low, high) in enumerate(bounds) if low < end and high > start]
        place = bounds[groups[0]][0] if groups else end
        for batch in opened.iter_batches(BATCH_ROWS, groups, columns):
            low, high = max(start - place, 0), min(end - place, len(batch))
            place += len(batch)
            if low < high:
                yield from batch.slice(low, high - low).to_pylist()
            if place >= end:
                return


def schema_of(file: Location) -> pyarrow.Schema:
    """The names and types of the columns. Raises BadRow if it is not Parquet."""
    with opened_parquet(file) as opened:
        return opened.schema_arrow
