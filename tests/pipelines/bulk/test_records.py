import csv
import io
import json
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.bulk.records import MOST_LINES, Csv, JsonLines, Record, TextFormat, lines_of
from pipelines.errors import MalformedInput

ANY_CSV = st.text(st.sampled_from('ab,"\n\ré'), max_size=60).map(str.encode)
ANY_BYTES = st.binary(max_size=60) | ANY_CSV
CELLS = st.text(st.characters(codec="utf-8"), max_size=8)
HEADER = ("one", "two", "three")


def split(form: TextFormat, content: bytes) -> list[Record]:
    return list(form.records(io.BytesIO(content)))


@given(content=st.binary(max_size=60) | st.text("a\n", max_size=30).map(str.encode), size=st.integers(1, 20))
def test_lines_do_not_depend_on_the_blocks_that_they_come_in(content: bytes, size: int) -> None:
    blocks = [content[start : start + size] for start in range(0, len(content), size)]
    lines = list(lines_of(blocks))
    assert b"".join(lines) == content
    assert all(line.endswith(b"\n") for line in lines[:-1])
    assert all(line.count(b"\n") <= 1 for line in lines)
    assert b"" not in lines


@pytest.mark.parametrize("form", [JsonLines(), Csv(("a",)), Csv(("a", "b"))])
@given(content=ANY_BYTES)
def test_records_in_a_row_are_the_file(form: TextFormat, content: bytes) -> None:
    records = split(form, content)
    assert b"".join(record.content for record in records) == content
    assert all(record.lines == len(list(lines_of([record.content]))) for record in records)


@pytest.mark.parametrize("form", [JsonLines(), Csv(("a",)), Csv(("a", "b"))])
@given(content=ANY_CSV)
def test_a_file_is_split_in_the_same_way_from_the_start_of_any_record_to_that_of_any_other(
    form: TextFormat, content: bytes
) -> None:
    records = split(form, content)
    bounds = list(accumulate((len(record.content) for record in records), initial=0))
    for first, start in enumerate(bounds):
        for last, end in enumerate(bounds[first:], first):
            assert split(form, content[start:end]) == records[first:last]


@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS)), terminator=st.sampled_from(["\n", "\r\n"]))
def test_what_the_csv_module_writes_is_read_back(rows: list[tuple[str, str, str]], terminator: str) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator=terminator, quoting=csv.QUOTE_ALL).writerows(rows)
    form = Csv(HEADER)
    read = [tuple(form.cells(record).values()) for record in split(form, written.getvalue().encode())]
    assert read == rows


@given(values=st.lists(st.dictionaries(CELLS, CELLS | st.integers() | st.none(), max_size=3)))
def test_what_the_json_module_writes_is_read_back(values: list[dict[str, object]]) -> None:
    content = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()
    form = JsonLines()
    assert [form.cells(record) for record in split(form, content)] == values


def test_a_quotation_mark_too_many_spoils_only_its_own_row() -> None:
    form = Csv(HEADER)
    records = split(form, b'a,b,c\n"d,e,f\ng,h,i\nj,"k\nk",l\n')
    assert [(record.content, record.lines) for record in records] == [
        (b"a,b,c\n", 1),
        (b'"d,e,f\n', 1),
        (b"g,h,i\n", 1),
        (b'j,"k\nk",l\n', 2),
    ]
    with pytest.raises(MalformedInput, match="unexpected end of data"):
        form.cells(records[1])


def test_a_cell_that_is_never_closed_is_looked_for_in_a_limited_number_of_lines() -> None:
    lines = [b'"open,b,c\n', *([b"x\n"] * MOST_LINES), b'",b,c\n']
    assert [record.lines for record in Csv(HEADER).records(lines)] == [1] * len(lines)
    nearer = [lines[0], *lines[3:]]
    assert [record.lines for record in Csv(HEADER).records(nearer)] == [MOST_LINES]


@pytest.mark.parametrize(
    ("form", "content", "reason"),
    [
        (JsonLines(), b'{"a": }\n', "the text is not valid JSON: column 7"),
        (JsonLines(), b"[1]\n", "the line is not a JSON object"),
        (JsonLines(), b'{"a": NaN}\n', "NaN and Infinity are not JSON"),
        (JsonLines(), b'{"a": 1, "a": 2}\n', "an object has the same key twice"),
        (JsonLines(), b'{"a": "\xff"}\n', "the text is not UTF-8, from byte 8 on"),
        (Csv(("a", "b")), b"1,2,3\n", "the row has 3 cells, but the header has 2 columns"),
        (Csv(("a", "b")), b"1\n", "the row has 1 cells, but the header has 2 columns"),
        (Csv(("a", "b")), b'"1"x,2\n', "the row is not valid CSV: ',' expected after '\"'"),
        (Csv(("a", "b")), b"\xff,2\n", "the text is not UTF-8, from byte 1 on"),
    ],
)
def test_a_record_that_cannot_be_read_says_why(form: TextFormat, content: bytes, reason: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        form.cells(Record(content, 1))
    assert str(caught.value) == reason


@pytest.mark.parametrize(("content", "blank"), [(b"\n", True), (b" \t\r\n", True), (b'""\n', False), (b"{}", False)])
def test_a_line_of_white_space_is_blank(content: bytes, blank: bool) -> None:
    assert Record(content, 1).blank == blank
