from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from pipelines.bulk.rows import Fault, Row, rows_of
from pipelines.bulk.scan import Files, scan
from pipelines.bulk.storage import Location
from pipelines.errors import BadRow


def test_bad_rows_are_faults_between_the_others(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a"\n\n{"a": "\xff"}\n{"a": 2}')
    location = Location.of(str(path))
    source = scan(Files.of(location), 10**6)
    assert list(rows_of(location, source, source.parts[0], None)) == [
        Row(1, {"a": 1}),
        Fault(2, "the text is not valid JSON: column 5"),
        Fault(4, "the text is not UTF-8, from byte 8 on"),
        Row(5, {"a": 2}),
    ]


def test_only_the_wanted_columns_of_a_parquet_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"a": [1, 2], "b": ["x", None]}), path)
    location = Location.of(str(path))
    source = scan(Files.of(location), 10**6)
    assert list(rows_of(location, source, source.parts[0], ["b"])) == [Row(1, {"b": "x"}), Row(2, {"b": None})]


def write_csv(path: Path, word: str) -> None:
    path.write_text(f"a\n{word}\n", encoding="utf-8")


def write_parquet(path: Path, word: str) -> None:
    parquet.write_table(pyarrow.table({"a": [word]}), path)


@pytest.mark.parametrize(("name", "write"), [("rows.csv", write_csv), ("rows.parquet", write_parquet)])
def test_a_file_that_changed_after_it_was_scanned_is_refused(name: str, write: object, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, "before")  # type: ignore[operator]
    location = Location.of(str(path))
    source = scan(Files.of(location), 10**6)
    write(path, "behind")  # type: ignore[operator]
    with pytest.raises(BadRow, match="has changed since the run began"):
        list(rows_of(location, source, source.parts[0], None))


def test_a_parquet_file_that_is_damaged_inside_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"a": [f"text {number}" for number in range(500)]}), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[40:200] = bytes(160)
    path.write_bytes(content)
    location = Location.of(str(path))
    source = scan(Files.of(location), 10**6)
    with pytest.raises((BadRow, OSError)):
        list(rows_of(location, source, source.parts[0], None))
