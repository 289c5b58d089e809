import csv
import io
import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from deployments.api.pairs_file import read_document, read_pairs
from deployments.settings import StsSettings
from pipelines.errors import InvalidInput, MalformedInput, TooLarge, UnsupportedMedia
from tests.deployments.api.conftest import ScriptedServices
from tests.deployments.api.test_problems import is_problem

Pairs = Sequence[tuple[str, str]]
BOM = "\ufeff"
ODD = st.sampled_from(
    ['"', '""', "\n", "\r\n", "\r", ",", "\x00", "\t", ";", "\u2028", "👨‍👩‍👧‍👦", "각", "'", "\\", " ", BOM]
)
TEXT = st.lists(ODD | st.text(max_size=8), max_size=6).map("".join)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8)
VISIBLE = TEXT.map(lambda text: "가" + text.replace("\x00", ""))
SETTINGS = StsSettings()


def rows_of(pairs: Pairs) -> list[dict[str, object]]:
    return [{"idx": i, "sentence1": left, "sentence2": right} for i, (left, right) in enumerate(pairs, 1)]


def as_json(pairs: Pairs) -> str:
    return json.dumps({"results": rows_of(pairs)}, ensure_ascii=False)


def as_json_lines(pairs: Pairs) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows_of(pairs)) + "\n"


def as_csv(pairs: Pairs) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["idx", "sentence1", "sentence2"])
    writer.writeheader()
    writer.writerows(rows_of(pairs))
    return text.getvalue()


def as_quoted_csv(pairs: Pairs) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("sentence2", "sentence1"), *((right, left) for left, right in pairs)])
    return text.getvalue()


FORMATS = [as_json, as_json_lines, as_csv, as_quoted_csv]


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("mark", ["", BOM])
@given(pairs=PAIRS)
def test_any_texts_come_back_unchanged_in_every_format(write: Callable[[Pairs], str], mark: str, pairs: Pairs) -> None:
    document = read_document((mark + write(pairs)).encode(), len(pairs))
    assert [(row["sentence1"], row["sentence2"]) for row in document.content["results"]] == pairs


@pytest.mark.parametrize("write", FORMATS)
@given(pairs=st.lists(st.tuples(VISIBLE, VISIBLE), min_size=1, max_size=8))
def test_valid_pairs_are_read_from_every_format(write: Callable[[Pairs], str], pairs: Pairs) -> None:
    assert read_pairs(write(pairs).encode(), SETTINGS) == pairs


@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_other_content_is_refused_without_another_error(content: bytes) -> None:
    with pytest.raises((MalformedInput, InvalidInput, UnsupportedMedia)):
        read_pairs(content, SETTINGS)


@pytest.mark.parametrize(
    ("content", "pairs"),
    [
        ('{"sentence1": "a", "sentence2": "b"}', [("a", "b")]),
        (
            '{"sentence1": "a", "sentence2": "b"}\r\n\r\n{"sentence2": "d", "sentence1": "c", "more": [1]}',
            [("a", "b"), ("c", "d")],
        ),
        ("\nsentence1,sentence2\n\na,b\n   \n", [("a", "b")]),
        ("label, sentence2 ,sentence1,idx\n1,b,a,\n", [("a", "b")]),
        ('"sentence1","sentence2"\r"a","b"\r', [("a", "b")]),
    ],
)
def test_one_line_blank_lines_and_more_columns_are_no_faults(content: str, pairs: Pairs) -> None:
    assert read_pairs(content.encode(), SETTINGS) == pairs


def test_a_row_beside_the_key_results_is_not_read_as_a_pair() -> None:
    with pytest.raises(InvalidInput, match="/results: "):
        read_pairs(b'{"results": [], "sentence1": "a", "sentence2": "b"}', SETTINGS)


GOOD = '{"sentence1": "a", "sentence2": "b"}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{GOOD}\n\n" + '{"sentence1": "a"}', "/results/1/sentence2: line 3: Field required"),
        (f"{GOOD}\n" + '{"sentence1": "a", "sentence2": 3}', "/results/1/sentence2: line 2: Input should be a valid"),
        (f"{GOOD}\n[1]", "/results/1: line 2: Input should be"),
        (f"[1]\n{GOOD}", "/results/0: line 1: Input should be"),
        ('sentence1,sentence2\n"a\nb",c\nd, \n', "/results/1/sentence2: line 4: Text must contain a visible"),
        ("sentence1,sentence2\r\na,b\r\nc,d\x00\r\n", r"/results/1/sentence2: line 3: Text must not contain U\+0000"),
        ("sentence1,sentence2\n", "/results: List should have at least 1 item"),
        (f"[{GOOD}]", r'The file must hold one JSON object, {"results": \[...\]}'),
    ],
)
def test_an_invalid_row_is_named_by_its_line(content: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_pairs(content.encode(), SETTINGS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{GOOD}\n{GOOD[:-1]},}}\n", r"JSON Lines with a fault: line 2, column 36: a comma stands before"),
        (f"{GOOD[:-1]},}}\n{GOOD}\n", r"JSON Lines with a fault: line 1, column 36: a comma stands before"),
        (f"{GOOD},\n{GOOD}\n", r"JSON Lines with a fault: line 1, column 37: more text follows"),
        (f"{GOOD}\nhello", "JSON Lines with a fault: line 2, column 1: "),
        ("sentence1,sentence2\na,b\nc,d,e\n", "row on line 3 has 3 cells, but the header has 2 columns"),
        ('sentence1,sentence2\n"a\n",b\nc\n', "row on line 4 has 1 cells"),
        ('sentence1,sentence2\na,b\n"c,d\n', "CSV with a fault in the row on line 3: .*close every cell"),
        ('sentence1,sentence2\n"c"d,e\n', "CSV with a fault in the row on line 2: "),
        ("sentence1,sentence1,sentence2\na,b,c\n", "names a column twice"),
        ("sentence1\tsentence2\na\tb\n", "line 1 are separated by tabs"),
        ("idx;sentence1;sentence2\n1;a;b\n", "line 1 are separated by semicolons"),
        ('"sentence1";"sentence2"\n"a";"b"\n', "line 1 are separated by semicolons"),
        ('\n"sentence1"\t"sentence2"\n"a"\t"b"\n', "line 1 are separated by tabs"),
        ("Sentence1,Sentence2\na,b\n", "line 1 of the CSV file names other columns than sentence1 and sentence2"),
        ("idx,sentence_1,sentence_2\n1,a,b\n", "names other columns .* without an underscore"),
        ("a,b\nc,d\n", "neither JSON, JSON Lines nor CSV: .*line 1 has no columns sentence1 and sentence2"),
        ("hello", "neither JSON, JSON Lines nor CSV: line 1, column 1 begins no JSON"),
        ('"sentence1', "neither JSON, JSON Lines nor CSV"),
        ("<html></html>", "neither JSON, JSON Lines nor CSV"),
    ],
)
def test_a_fault_in_a_format_is_named_by_its_place(content: str, message: str) -> None:
    with pytest.raises(MalformedInput, match=message):
        read_pairs(content.encode(), SETTINGS)


@pytest.mark.parametrize("write", FORMATS)
def test_limits_hold_in_every_format(write: Callable[[Pairs], str]) -> None:
    settings = StsSettings(max_pairs=2, max_characters=3)
    assert len(read_pairs(write([("a", "b")] * 2).encode(), settings)) == 2
    with pytest.raises(TooLarge, match="the file is over the limit of 2 pairs"):
        read_pairs(write([("a", "")] * 3).encode(), settings)  # before an invalid row is found
    with pytest.raises(TooLarge, match=r"sentence2.* is over the limit of 3 characters"):
        read_pairs(write([("a", "b"), ("a", "long")]).encode(), settings)


def test_rows_after_the_limit_are_not_read() -> None:
    with pytest.raises(TooLarge):
        read_pairs(f"{GOOD}\n{GOOD}\n{GOOD}\nhello".encode(), StsSettings(max_pairs=2))


def test_a_sentence_that_is_too_long_is_named_by_its_line() -> None:
    content = b"sentence1,sentence2\na,b\nc,long\n"
    with pytest.raises(TooLarge, match="sentence2 on line 3"):
        read_pairs(content, StsSettings(max_characters=3))


def test_a_cell_may_be_longer_than_the_csv_module_reads_by_default() -> None:
    content = ("sentence1,sentence2\n" + "a" * 200_000 + ",b\n").encode()
    assert len(read_pairs(content, StsSettings(max_characters=300_000))[0][0]) == 200_000


@pytest.mark.parametrize("write", FORMATS)
def test_every_format_is_scored_over_http(client: TestClient, write: Callable[[Pairs], str]) -> None:
    for name, kind in (("pairs.csv", "text/csv"), ("pairs.json", "application/json"), ("pairs", "")):
        file = (name, write([("가" * 70, "나"), ('"a", b\n', "🎉")]).encode(), kind)
        response = client.post("/pred/file/", files={"file": file})
        assert response.status_code == 200
        assert response.json()["sentences"] == [["가" * 70, "나"], ['"a", b\n', "🎉"]]
        assert response.json()["preds"] == [1, 0]


@pytest.mark.parametrize("path", ["/pred/file/", "/pred/multi", "/pred/file/multi/"])
def test_two_files_in_one_upload_are_refused(client: TestClient, services: ScriptedServices, path: str) -> None:
    file = ("pairs.json", as_json([("가", "나")]).encode())
    problem = is_problem(client.post(path, files=[("file", file), ("file", file)]), 422)
    assert problem["errors"][0]["pointer"] == "/file"
    assert "2 parts of the form have the name file; send one request for each file" in problem["detail"]
    is_problem(client.post(path, files=[("file", file)], data={"file": "text"}), 422)
    assert services.sts_files.asked == []
    assert client.post(path, files=[("file", file), ("other", file)]).status_code == 200
