from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pipelines.bulk.parquet import BATCH_ROWS, rows_between
from pipelines.bulk.storage import Location

ROWS = 3 * BATCH_ROWS


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Location:
    """A file with groups of 500 rows: batches end within groups and groups within batches."""
    path: Path = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    table = pyarrow.table({"number": range(ROWS), "text": [f"text {number}" for number in range(ROWS)]})
    parquet.write_table(table, path, row_group_size=500)
    return Location.of(str(path))


@given(start=st.integers(0, ROWS), size=st.integers(0, ROWS))
def test_any_range_of_rows_can_be_read(file: Location, start: int, size: int) -> None:
    end = min(start + size, ROWS)
    read = [row["number"] for row in rows_between(file, start, end, ["number"])]
    assert read == list(range(start, end))
