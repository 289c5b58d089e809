import csv
import io
import json
import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cola.data import Judgement, judgement
from pipelines.errors import BadRow, DataNotFound
from pipelines.text.rows import read_file, read_rows

COLUMNS = ("text", "label")
EXPECTED = [Judgement("A boy walks.", True), Judgement("Boy a, walk.", False)]
CONTENTS = {
    "rows.csv": 'label,text\n1,A boy walks.\n\n0,"Boy a, walk."\n',
    "rows.tsv": "text\tlabel\nA boy walks.\t1\nBoy a, walk.\t0\n",
    "rows.json": '[\n  {"text": "A boy walks.",\n   "label": 1},{"label": "0", "text": "Boy a, walk."}\n]\n',
    "rows.jsonl": '{"text": "A boy walks.", "label": 1}\n{"label": "0", "text": "Boy a, walk."}\n',
}


def write(folder: Path, name: str, text: str) -> str:
    content = text.encode()
    (folder / name).write_bytes(lzma.compress(content) if name.endswith(".xz") else content)
    return str(folder / name)


@pytest.mark.parametrize("ending", ["", ".xz"])
@pytest.mark.parametrize("name", CONTENTS)
def test_columns_of_a_file_are_found_by_name(name: str, ending: str, tmp_path: Path) -> None:
    assert read_rows(write(tmp_path, name + ending, CONTENTS[name]), COLUMNS, judgement) == EXPECTED


@pytest.mark.parametrize(("name", "between"), [("cola.tsv", "\t"), ("cola.csv", ",")])
def test_columns_of_a_file_without_header_are_found_by_number(name: str, between: str, tmp_path: Path) -> None:
    lines = [between.join(["gj04", "1", "", "A boy walks."]), between.join(["gj04", "0", "*", "Boy a walk."])]
    rows = read_rows(write(tmp_path, name, "\n".join(lines)), ("4", "2"), judgement)
    assert [row.acceptable for row in rows] == [True, False]


@pytest.mark.parametrize(
    ("part", "numbers"),
    [
        ("[:2]", [0, 1]),
        ("[-2:]", [3, 4]),
        ("[1:-1]", [1, 2, 3]),
        ("[::2]", [0, 2, 4]),
        ("[1::3]", [1, 4]),
        ("[:]", [0, 1, 2, 3, 4]),
    ],
)
def test_a_slice_after_the_source_selects_rows(part: str, numbers: list[int], tmp_path: Path) -> None:
    rows = [f"Sentence {number}." for number in range(5)]
    source = write(tmp_path, "rows.tsv", "text\tlabel\n" + "".join(f"{row}\t1\n" for row in rows))
    assert [row.sentence for row in read_rows(source + part, COLUMNS, judgement)] == [
        rows[number] for number in numbers
    ]


def test_a_slice_without_rows_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path, "rows.tsv", "text\tlabel\nA boy walks.\t1\n")
    with pytest.raises(DataNotFound, match="holds no rows"):
        read_rows(f"{source}[5:]", COLUMNS, judgement)


def test_quotes_have_no_meaning_in_a_tsv_file(tmp_path: Path) -> None:
    source = write(tmp_path, "rows.tsv", 'text\tlabel\r\n"A" boy "walks.\t1\r\n')
    assert read_rows(source, COLUMNS, judgement) == [Judgement('"A" boy "walks.', True)]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1).filter(str.strip)


@given(rows=st.lists(st.builds(Judgement, TEXTS, st.booleans()), min_size=1))
def test_a_file_written_by_the_csv_module_is_read_back(
    rows: list[Judgement], tmp_path_factory: pytest.TempPathFactory
) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerows([COLUMNS, *((row.sentence, int(row.acceptable)) for row in rows)])
    source = write(tmp_path_factory.mktemp("csv"), "rows.csv", written.getvalue())
    assert read_rows(source, COLUMNS, judgement) == rows


@pytest.mark.parametrize(
    ("name", "text", "line", "why"),
    [
        ("rows.csv", "text,label\nfine,1\nbad,2\n", 3, "label '2' is neither 0 nor 1"),
        ("rows.csv", 'text,label\n"two\nlines",1\nshort\n', 4, "has no column label; it has text"),
        ("rows.csv", "text,label\na,1,2\n", 2, "has 3 cells, but its header has 2"),
        ("rows.csv", 'text,label\nfine,1\n"open,1\n', 3, "unexpected end of data"),
        ("rows.tsv", "text\tlabel\n\nfine\t1\n \t1\n", 4, "the text is blank"),
        ("rows.tsv", "text\tlabel\n\nfine\n", 3, "has no column label; it has text"),
        ("rows.tsv", "label\ttext\n1\tfine\n1\t \n", 3, "the text is blank"),
        ("rows.jsonl", '{"text": "fine", "label": 1}\n{"text": "bad"}\n', 2, "has no column label; it has text"),
        ("rows.jsonl", '{"text": "bad", "label": null}\n', 1, "has no column label"),
        ("rows.jsonl", '{"text": "fine", "label": 1}\n\n{"text"', 3, "not JSON"),
        ("rows.jsonl", "[1]\n", 1, "not a JSON object"),
        ("rows.json", '[{"text": "]\\n,[",\n"label": 1}\n, {"text": "bad"}]', 3, "has no column label; it has text"),
        ("rows.json", '[{"text": "fine", "label": 1},\n\n2]', 3, "not a JSON object"),
        ("rows.json", '[{"text": "fine", "label": 1}\n{', 2, "not JSON"),
    ],
)
def test_a_bad_row_is_reported_with_its_file_and_line(
    name: str, text: str, line: int, why: str, tmp_path: Path
) -> None:
    source = write(tmp_path, name, text)
    with pytest.raises(BadRow) as caught:
        read_rows(source, COLUMNS, judgement)
    assert caught.value.where == f"{source}, line {line}"
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("name", "why"),
    [("nowhere.csv", "there is no such file"), ("empty.csv", "holds no rows"), ("rows.parquet", "ends in .parquet")],
)
def test_missing_empty_and_unknown_files_are_refused(name: str, why: str, tmp_path: Path) -> None:
    write(tmp_path, "empty.csv", "text,label\n")
    write(tmp_path, "rows.parquet", "")
    with pytest.raises(DataNotFound, match=why):
        read_rows(str(tmp_path / name), COLUMNS, judgement)


def test_a_json_file_without_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRow, match="not a JSON list"):
        read_rows(write(tmp_path, "rows.json", "{}"), COLUMNS, judgement)


def test_columns_may_be_nested_and_have_alternative_names(tmp_path: Path) -> None:
    lines = [{"text": "a", "labels": {"binary": 1, "real": 4.5}}, {"text": "b", "label": 0}]
    source = write(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, lines)))
    rows = read_rows(source, ("text", "labels.binary|label"), judgement)
    assert rows == [Judgement("a", True), Judgement("b", False)]


def test_a_column_name_may_contain_a_dot(tmp_path: Path) -> None:
    source = write(tmp_path, "rows.csv", "text.ko,label\na,1\n")
    assert read_rows(source, ("text.ko", "label"), judgement) == [Judgement("a", True)]


@given(rows=st.lists(st.builds(Judgement, TEXTS, st.booleans()), min_size=1), indent=st.sampled_from([None, 0, 3]))
def test_each_row_of_a_json_list_has_the_number_of_the_line_on_which_it_begins(
    rows: list[Judgement], indent: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = [{"text": row.sentence, "label": int(row.acceptable)} for row in rows]
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    path = Path(write(tmp_path_factory.mktemp("json"), "rows.json", text))
    assert read_rows(str(path), COLUMNS, judgement) == rows
    lines = text.split("\n")
    for record in read_file(path, headless=False):
        number = int(record.where.rpartition(" ")[2])
        assert "{" in lines[number - 1]


@pytest.mark.parametrize("name", ["rows.csv.xz", "rows.csv"])
def test_bytes_that_are_not_text_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(BadRow, match="can't be read as UTF-8 text"):
        read_rows(str(tmp_path / name), COLUMNS, judgement)


@pytest.fixture
def data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of a data set with two splits, laid out as on the Hub."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "judged"
    folder.mkdir()
    for split, label in (("train", 1), ("validation", 0)):
        line = json.dumps({"text": f"from {split}", "label": label})
        (folder / f"{split}.jsonl").write_text(line + "\n", encoding="utf-8")
    return str(folder)


def test_a_data_set_is_read_by_name_and_split(data_set: str) -> None:
    assert read_rows(data_set, COLUMNS, judgement) == [Judgement("from train", True)]
    assert read_rows(data_set, COLUMNS, judgement, split="validation") == [Judgement("from validation", False)]
    assert read_rows(f"{data_set}:default:validation", COLUMNS, judgement) == [Judgement("from validation", False)]


def test_missing_columns_splits_and_data_sets_are_named(data_set: str) -> None:
    with pytest.raises(BadRow, match=r"judged, row 0: has no column sentence; it has text, label"):
        read_rows(data_set, ("sentence", "label"), judgement)
    with pytest.raises(DataNotFound, match="the datasets library can't read it"):
        read_rows(f"{data_set}:default:test", COLUMNS, judgement)
    with pytest.raises(DataNotFound, match="owner/nothing"):
        read_rows("owner/nothing", COLUMNS, judgement)
