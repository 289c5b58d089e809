import json
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pipelines.bulk.rows import Fault, Row, rows_of
from pipelines.bulk.scan import Files, scan
from pipelines.bulk.source import Source
from pipelines.bulk.storage import Location
from pipelines.errors import BadRow, DataNotFound
from pipelines.text.strict_json import BOM


def scanned(path: Path, part_bytes: int = 100) -> Source:
    return scan(Files.of(Location.of(str(path))), part_bytes)


def read(path: Path, source: Source) -> list[Row | Fault]:
    return [row for part in source.parts for row in rows_of(Location.of(str(path)), source, part, None)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scan")


CONTENT = st.text(st.sampled_from('a,"\n\r é{}'), min_size=1, max_size=80).filter(str.strip)


@given(content=CONTENT, part_bytes=st.integers(1, 100), mark=st.sampled_from([b"", BOM]))
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_parts_of_any_size_hold_the_same_rows(
    folder: Path, name: str, content: str, part_bytes: int, mark: bytes
) -> None:
    path = folder / name
    path.write_bytes(mark + (b"a,b\n" if name == "rows.csv" else b"") + content.encode())
    whole, cut = scanned(path, 10**9), scanned(path, part_bytes)
    assert len(whole.parts) == 1
    assert read(path, cut) == read(path, whole)
    assert cut.rows == whole.rows == len(read(path, whole))
    assert cut.parts[-1].end == whole.parts[-1].end or not path.read_bytes()[cut.parts[-1].end :].strip()


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5), part_bytes=st.integers(1, 2000))
def test_parts_of_a_parquet_file_hold_all_of_its_rows(folder: Path, sizes: list[int], part_bytes: int) -> None:
    path = folder / "rows.parquet"
    numbers = pyarrow.table({"number": range(sum(sizes))})
    with parquet.ParquetWriter(path, numbers.schema) as writer:
        start = 0
        for size in sizes:
            writer.write_table(numbers.slice(start, size), row_group_size=size)
            start += size
    source = scanned(path, part_bytes)
    assert source.columns == ("number",)
    assert read(path, source) == [Row(number + 1, {"number": number}) for number in range(sum(sizes))]
    assert source.rows == sum(sizes)


def test_rows_have_the_number_of_the_line_on_which_they_begin(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('\nname,text\n\na,"two\nlines"\nb,c,d\n\ne,f\n', encoding="utf-8")
    assert read(path, scanned(path, 1)) == [
        Row(4, {"name": "a", "text": "two\nlines"}),
        Fault(6, "the row has 3 cells, but the header has 2 columns"),
        Row(8, {"name": "e", "text": "f"}),
    ]


def test_a_part_ends_with_the_record_that_fills_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"number": number}) + "\n" for number in range(10)]
    path.write_text("".join(lines), encoding="utf-8")
    parts = scanned(path, 2 * len(lines[0])).parts
    assert [(part.start, part.end, part.line, part.rows) for part in parts] == [
        (start, start + 2 * len(lines[0]), line, 2)
        for start, line in zip(range(0, 10 * len(lines[0]), 2 * len(lines[0])), range(1, 10, 2), strict=True)
    ]


def test_a_folder_is_read_file_by_file_in_the_order_of_names(tmp_path: Path) -> None:
    for name, text in {"b.csv": "a,b\n3,4\n", "a.csv": "a,b\n1,2\n", "_errors.csv": "no", ".hidden": "no"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    source = scanned(tmp_path)
    assert [part.file for part in source.parts] == ["a.csv", "b.csv"]
    assert read(tmp_path, source) == [Row(2, {"a": "1", "b": "2"}), Row(2, {"a": "3", "b": "4"})]


@pytest.mark.parametrize(
    ("files", "error", "why"),
    [
        ({}, DataNotFound, "there is no such file, or a folder without files"),
        ({"a.txt": "x"}, DataNotFound, "must end in one of jsonl, csv, parquet"),
        ({"a.csv": "a\n1\n", "b.jsonl": "{}"}, DataNotFound, "a folder has files of one format"),
        ({"a.csv": "a,b\n1,2\n", "b.csv": "b,a\n1,2\n"}, DataNotFound, "its columns are not those of a.csv"),
        ({"a.csv": "\n\n"}, BadRow, "there is no header"),
        ({"a.csv": ""}, BadRow, "there is no header"),
        ({"a.csv": '"a\n1\n'}, BadRow, "is no header: the row is not valid CSV"),
        ({"a.csv": "a, a\n1,2\n"}, BadRow, "the header has the same name twice"),
        ({"a.csv": "a,b\n\n"}, DataNotFound, "holds no rows"),
        ({"a.jsonl": "\n"}, DataNotFound, "holds no rows"),
        ({"a.parquet": "PAR1 and nothing else"}, BadRow, "is damaged, or not a Parquet file"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused(
    tmp_path: Path, files: dict[str, str], error: type[Exception], why: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(error, match=why):
        scanned(tmp_path)


def test_parquet_files_whose_columns_have_other_types_are_refused(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "a.parquet")
    parquet.write_table(pyarrow.table({"a": ["1"]}), tmp_path / "b.parquet")
    with pytest.raises(DataNotFound, match="its columns are not those of a"):
        scanned(tmp_path)


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match="there is no such file"):
        scanned(tmp_path / "nowhere.csv")
