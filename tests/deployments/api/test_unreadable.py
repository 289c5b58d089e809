import gzip
import json
import lzma
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from deployments.api.pairs_file import read_pairs
from deployments.settings import StsSettings
from pipelines.errors import MalformedInput
from tests.deployments.api.test_problems import is_problem

ROWS = [{"idx": 1, "sentence1": "오늘 서울 날씨 어때?", "sentence2": "고양이가 잔다."}]
DOCUMENT = json.dumps({"results": ROWS}, ensure_ascii=False)
PRETTY = json.dumps({"results": ROWS}, ensure_ascii=False, indent=2)
CSV = "sentence1,sentence2\na,b\n오늘,내일\n"


def refusal(content: bytes) -> str:
    with pytest.raises(MalformedInput) as error:
        read_pairs(content, StsSettings())
    assert "오늘" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (DOCUMENT.replace("}]", "},]"), f"line 1, column {DOCUMENT.index('}]') + 2}: a comma stands before"),
        (PRETTY.replace('다."\n', '다.",\n'), "line 6, column 30: a comma stands before"),
        (PRETTY.replace("]\n", "],\n"), "line 8, column 4: a comma stands before"),
        (PRETTY.replace('"idx"', "idx"), "line 4, column 7: a key must be in double quotation marks"),
        (PRETTY.replace('때?",', '때?"'), "line 6, column 7: expected `,` or `}`"),
        (DOCUMENT + "}", f"line 1, column {len(DOCUMENT) + 1}: more text follows"),
        (DOCUMENT + "\n" + DOCUMENT, "line 2, column 1: more text follows"),
        (DOCUMENT[:-1], f"line 1, column {len(DOCUMENT) - 1}: the text ends within a JSON value"),
        (PRETTY.replace("서울", "서\n울"), "line 5, column 25: a string contains a control character"),
        (DOCUMENT.replace("서울", "\\서울"), "a string contains a backslash that begins no escape"),
        ("[" * 1000, "nested too deeply"),
    ],
)
def test_a_fault_of_json_is_named_with_its_line_and_column(content: str, message: str) -> None:
    found = refusal(content.encode())
    assert found.startswith("the file is not valid JSON: line ")
    assert message in found


@pytest.mark.parametrize("text", [DOCUMENT, PRETTY, CSV])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_encodings_are_named(text: str, encoding: str) -> None:
    assert f"is in {encoding[:6].upper()}, as its first bytes" in refusal(text.encode(encoding))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (DOCUMENT, f"line 1, column {DOCUMENT.index('오') + 1} is not"),
        (PRETTY, "line 5, column 21 is not"),
        (CSV, "line 3, column 1 is not"),
    ],
)
def test_cp949_is_named_with_the_first_place_that_is_not_utf8(text: str, place: str) -> None:
    found = refusal(text.encode("cp949"))
    assert place in found
    assert "it can be read as CP949 (EUC-KR); save it as UTF-8" in found


def test_a_file_in_another_encoding_is_not_called_cp949() -> None:
    found = refusal("sentence1,sentence2\ncafé au lait,b\n".encode("latin-1"))
    assert "line 2, column 4 is not UTF-8" in found
    assert "CP949" not in found


def test_a_damaged_file_in_utf8_is_not_called_cp949() -> None:
    found = refusal(DOCUMENT.encode().replace("양".encode(), b"\xff"))
    assert f"begins as UTF-8, but line 1, column {DOCUMENT.index('양') + 1} is not UTF-8" in found


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04" + bytes(40), "a zip file or an Excel workbook; save"),
        (b"%PDF-1.7", "a PDF; save"),
        (b"\x89PNG\r\n\x1a\n", "line 1, column 1 is not UTF-8"),
    ],
)
def test_files_without_text_are_named(client: TestClient, content: bytes, what: str) -> None:
    assert what in refusal(content)
    assert what in is_problem(client.post("/pred/file/", files={"file": ("pairs.json", content)}), 400)["detail"]


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_a_compressed_file_is_415(client: TestClient, compress: Callable[[bytes], bytes]) -> None:
    answer = client.post("/pred/file/", files={"file": ("pairs.json", compress(DOCUMENT.encode()))})
    assert "send it uncompressed" in is_problem(answer, 415)["detail"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (DOCUMENT.replace('"idx": 1', '"idx": NaN'), "line 1 on: NaN"),
        (DOCUMENT.replace('"idx": 1', '"idx": 1e999'), "a number is out of range"),
        (DOCUMENT.replace('"idx": 1', f'"idx": {"9" * 5000}'), "number out of range"),
        (DOCUMENT.replace('"idx": 1', '"idx": 1, "\\u0069dx": 2'), "the same key twice"),
    ],
)
def test_json_that_parsers_understand_in_different_ways_is_refused(content: str, fault: str) -> None:
    assert fault in refusal(content.encode())
