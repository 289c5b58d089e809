import os
from pathlib import Path

import pytest

from pipelines.chat.store.documents import Document, read_documents
from pipelines.errors import DocumentUnreadable


def read(folder: Path, name: str, content: bytes) -> list[Document]:
    (folder / name).write_bytes(content)
    return list(read_documents(folder))


def test_text_and_markdown_files_are_read_unchanged(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.md").write_bytes("# 제목\r\n본문".encode())
    assert read(tmp_path, "a.txt", "\ufeff첫째\n".encode()) == [
        Document("a.txt", "첫째\n"),
        Document("deep/b.md", "# 제목\r\n본문"),
    ]


def test_each_row_of_a_table_is_a_document(tmp_path: Path) -> None:
    content = 'name,text,more\n소개,"하나,\r\n둘",x\n,셋,y\n'.encode()
    assert read(tmp_path, "a.csv", content) == [Document("a.csv#소개", "하나,\r\n둘"), Document("a.csv#2", "셋")]


def test_each_line_of_json_lines_is_a_document(tmp_path: Path) -> None:
    content = '{"text": "하나", "name": "소개"}\n\n{"text": "둘\u2028셋"}\n'.encode()
    assert read(tmp_path, "a.jsonl", content) == [Document("a.jsonl#소개", "하나"), Document("a.jsonl#3", "둘\u2028셋")]


def test_a_single_file_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("둘")
    read(tmp_path, "a.txt", b"1")
    assert list(read_documents(tmp_path / "b.txt")) == [Document("b.txt", "둘")]


@pytest.mark.parametrize("name", ["A.TXT", "README.Md"])
def test_suffixes_are_compared_without_regard_to_case(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, name, b"1") == [Document(name, "1")]
    assert list(read_documents(tmp_path / name)) == [Document(name, "1")]


def test_a_folder_may_have_the_suffix_of_a_document(tmp_path: Path) -> None:
    (tmp_path / "notes.md").mkdir()
    (tmp_path / "notes.md" / "b.txt").write_text("2")
    assert read(tmp_path, "a.txt", b"1") == [Document("a.txt", "1"), Document("notes.md/b.txt", "2")]


def test_a_cell_may_be_as_long_as_a_document(tmp_path: Path) -> None:
    text = "가" * 200_000
    assert read(tmp_path, "a.csv", f"text\n{text}\n".encode()) == [Document("a.csv#1", text)]


def test_files_with_other_suffixes_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "index.pkl").write_bytes(b"\x80")
    assert read(tmp_path, "a.txt", b"1") == [Document("a.txt", "1")]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.txt", "한글".encode("cp949"), "save the file as UTF-8"),
        ("a.csv", "본문\n하나\n".encode(), "row 1 has no 'text'"),
        ("a.csv", b'text\n"open\n', "not valid CSV"),
        ("a.jsonl", b'{"text": "1"}\n{"text": ', "row 2 is not JSON"),
        ("a.jsonl", b"[" * 100_000, "row 1 is not JSON"),
        ("a.jsonl", b'["text"]', "row 1 has no 'text'"),
        ("a.jsonl", b'{"text": 3}', "row 1 has no 'text'"),
        ("a.jsonl", b'{"text": "1", "name": "\\udcff"}', "half of a surrogate pair"),
        ("a.jsonl", b'{"text": "\\ud800"}', "half of a surrogate pair"),
    ],
)
def test_unreadable_text_is_refused_with_file_and_row(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    with pytest.raises(DocumentUnreadable, match=why) as caught:
        read(tmp_path, name, content)
    assert caught.value.where == str(tmp_path / name)


def test_a_file_whose_name_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentUnreadable, match="half of a surrogate pair"):
        read(tmp_path, os.fsdecode(b"\xff.txt"), b"1")


@pytest.mark.parametrize("name", ["missing", "empty", "a.pdf"])
def test_a_source_without_documents_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(DocumentUnreadable, match=r"no such file or folder, or none with \.txt"):
        list(read_documents(tmp_path / name))
