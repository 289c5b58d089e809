import csv
import datetime
import io
import json
import math
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pipelines.bulk.source import Format
from pipelines.bulk.writers import json_line, writer_of

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
ROWS = st.lists(st.fixed_dictionaries({"text": TEXT, "other": TEXT, "prob": st.floats(width=32)}), max_size=5)
TYPES = {"text": pyarrow.string(), "other": pyarrow.string(), "prob": pyarrow.float32()}


def written(form: Format, rows: list[dict[str, Any]], types: dict[str, pyarrow.DataType] = TYPES) -> bytes:
    stream = io.BytesIO()
    writer = writer_of(form, stream, types)
    for start in range(0, len(rows), 2):
        writer.write(rows[start : start + 2])
    writer.close()
    return stream.getvalue()


@given(rows=ROWS)
def test_json_lines_hold_all_rows(rows: list[dict[str, Any]]) -> None:
    lines = written("jsonl", rows).split(b"\n")[:-1]
    expected = [row | ({} if math.isfinite(row["prob"]) else {"prob": None}) for row in rows]
    assert [json.loads(line) for line in lines] == expected


@given(rows=ROWS.filter(lambda rows: all(math.isfinite(row["prob"]) for row in rows)))
def test_csv_holds_all_rows(rows: list[dict[str, Any]]) -> None:
    read = list(csv.DictReader(io.StringIO(written("csv", rows).decode(), newline=""), strict=True))
    assert [row | {"prob": float(row["prob"])} for row in read] == rows


@given(rows=ROWS)
def test_parquet_holds_all_rows(rows: list[dict[str, Any]]) -> None:
    table = parquet.read_table(io.BytesIO(written("parquet", rows)))
    assert table.schema == pyarrow.schema(list(TYPES.items()))
    assert table.drop(["prob"]).to_pylist() == [{"text": row["text"], "other": row["other"]} for row in rows]
    assert [str(prob) for prob in table["prob"].to_pylist()] == [str(row["prob"]) for row in rows]


@pytest.mark.parametrize(
    ("cell", "text"),
    [(None, None), (3, "3"), (True, "true"), ([1, "é"], '[1, "é"]'), (datetime.date(2026, 1, 2), '"2026-01-02"')],
)
def test_cells_that_are_no_text_are_written_as_json(cell: Any, text: str | None) -> None:
    row = {"text": cell, "other": "", "prob": 0.5}
    (read,) = csv.DictReader(io.StringIO(written("csv", [row]).decode(), newline=""))
    assert read == {"text": text or "", "other": "", "prob": "0.5"}
    assert parquet.read_table(io.BytesIO(written("parquet", [row])))["text"].to_pylist() == [text]


def test_a_cell_that_a_row_lacks_is_empty() -> None:
    assert written("csv", [{"prob": 0.5}]) == b"text,other,prob\r\n,,0.5\r\n"
    assert parquet.read_table(io.BytesIO(written("parquet", [{"prob": 0.5}])))["text"].to_pylist() == [None]


def test_embeddings_are_lists_of_numbers() -> None:
    types = {"embedding": pyarrow.list_(pyarrow.float32())}
    row = {"embedding": [0.5, -0.25]}
    assert parquet.read_table(io.BytesIO(written("parquet", [row], types))).to_pylist() == [row]
    assert json.loads(written("jsonl", [row])) == row


@pytest.mark.parametrize(("form", "holds"), [("jsonl", True), ("csv", False), ("parquet", False)])
def test_only_json_holds_half_of_a_surrogate_pair(form: Format, holds: bool) -> None:
    row = {"text": "a\ud800", "other": "é"}
    fault = writer_of(form, io.BytesIO(), TYPES).fault(row)
    assert fault == (None if holds else "text contains half of a surrogate pair, which only JSON Lines can hold")
    assert json.loads(json_line(row)) == row


def test_a_file_without_rows_can_be_read() -> None:
    assert written("jsonl", []) == b""
    assert written("csv", []) == b"text,other,prob\r\n"
    assert parquet.read_table(io.BytesIO(written("parquet", []))).num_rows == 0
