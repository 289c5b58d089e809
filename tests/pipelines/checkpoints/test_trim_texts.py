import json
import lzma
import unicodedata
from pathlib import Path

import pytest

from pipelines.checkpoints.trim_texts import Text, read_texts
from pipelines.errors import BadRow, DataNotFound


def written(path: Path, content: str) -> Path:
    path.write_bytes(lzma.compress(content.encode()) if path.suffix == ".xz" else content.encode())
    return path


@pytest.mark.parametrize("name", ["texts.txt", "texts.md", "texts.txt.xz"])
def test_every_line_that_is_not_blank_is_a_text(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, "가다\r\n\n  \n# The museum\n")
    assert read_texts([path]) == [Text(f"{path}, line 1", "가다"), Text(f"{path}, line 4", "# The museum")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.tsv", "id\ttext\n1\t가다\n"),
        ("t.csv", 'id,text\n1,"가다"\n'),
        ("t.jsonl", '{"id": "id", "text": "text"}\n{"n": 2, "of": {"id": "1", "all": ["가다"]}}\n'),
        ("t.json", '[{"id": "id", "text": "text"},\n {"id": "1", "text": "가다", "n": 1}]'),
    ],
)
def test_all_cells_and_strings_of_tables_are_texts(tmp_path: Path, name: str, content: str) -> None:
    path = written(tmp_path / name, content)
    first, second = f"{path}, line 1", f"{path}, line 2"
    assert read_texts([path]) == [Text(first, "id"), Text(first, "text"), Text(second, "1"), Text(second, "가다")]


def test_the_strings_of_other_json_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "t.json", json.dumps({"data": [{"title": "가다"}, "b", 3]}))
    assert read_texts([path]) == [Text(f"{path}, string 1", "가다"), Text(f"{path}, string 2", "b")]


def test_a_text_is_returned_once_in_each_form(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "가다")
    path = written(tmp_path / "t.txt", f"b\nb\n{decomposed}\n")
    line = f"{path}, line 3"
    assert read_texts([path, path]) == [Text(f"{path}, line 1", "b"), Text(line, decomposed), Text(line, "가다")]


def test_texts_that_utf_8_can_not_encode_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", '{"text": "\\ud800", "more": "b"}\n')
    assert [text.text for text in read_texts([path])] == ["b"]


@pytest.mark.parametrize(
    ("name", "content", "error", "match"),
    [
        ("t.pdf", "a", DataNotFound, r"t\.pdf: ends in \.pdf, not in one of \.txt, "),
        ("t.txt", " \n", DataNotFound, r"t\.txt: holds no text"),
        ("t.json", '{\n"a": }', BadRow, r"t\.json, line 2: not JSON"),
        ("t.txt.xz", "", DataNotFound, "holds no text"),
    ],
)
def test_files_without_texts_are_refused(
    tmp_path: Path, name: str, content: str, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        read_texts([written(tmp_path / name, content)])


def test_missing_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    for name in ("none.txt", "none.json", "none.tsv"):
        with pytest.raises(DataNotFound, match="there is no such file"):
            read_texts([tmp_path / name])
    (tmp_path / "t.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(BadRow, match="can't be read as UTF-8"):
        read_texts([tmp_path / "t.txt"])
