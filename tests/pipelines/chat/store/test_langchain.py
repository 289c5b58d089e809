"""langchain-community 0.4.2 and faiss-cpu 1.15.1 wrote `langchain_folder`: two texts, vectors of 4 numbers."""

import pickle
import struct
from pathlib import Path

import pytest

from pipelines.chat.store.documents import Document
from pipelines.chat.store.langchain import read_faiss
from pipelines.errors import StoreCorrupt, StoreUnsafe
from tests.pipelines.chat.langchain_classes import Docstore, LangChainDocument, pretending
from tests.pipelines.checkpoints.damage import Planted

FOLDER = Path(__file__).parent / "langchain_folder"


def write(folder: Path, content: object, count: int = 1) -> Path:
    with pretending():
        (folder / "index.pkl").write_bytes(pickle.dumps(content))
    (folder / "index.faiss").write_bytes(b"IxF2" + struct.pack("<iq", 1536, count) + bytes(64))
    return folder


def docstore(**texts: object) -> Docstore:
    return Docstore({key: LangChainDocument(text) for key, text in texts.items()})


def test_a_folder_written_by_langchain_is_read() -> None:
    assert read_faiss(FOLDER) == [
        Document("family.txt#1", "하늘이는 부산에서 태어났다."),
        Document("cats.txt#2", "하늘이는 고양이를 기른다."),
    ]


def test_records_come_in_the_order_of_their_vectors(tmp_path: Path) -> None:
    folder = write(tmp_path, (docstore(a="하나", b="둘"), {1: "a", 0: "b"}), 2)
    assert [document.text for document in read_faiss(folder)] == ["둘", "하나"]


def test_a_planted_call_is_refused_and_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "the planted code ran"
    for content in (Planted(mark), (docstore(a=Planted(mark)), {0: "a"})):
        with pytest.raises(StoreUnsafe, match=r"index\.pkl: names "):
            read_faiss(write(tmp_path, content))
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        "text",
        (docstore(a="하나"), {0: "b"}),
        (docstore(a="하나"), ["a"]),
        (docstore(a=3), {0: "a"}),
        (docstore(a="\ud800"), {0: "a"}),
        (Docstore({"a": LangChainDocument("글", source="\udcff.txt")}), {0: "a"}),
        (LangChainDocument("하나"), {0: "a"}),
        (Docstore({"a": docstore()}), {0: "a"}),
    ],
)
def test_other_content_is_corrupt(tmp_path: Path, content: object) -> None:
    with pytest.raises(StoreCorrupt, match="not what LangChain"):
        read_faiss(write(tmp_path, content))


def test_an_id_that_takes_for_ever_to_hash_is_corrupt(tmp_path: Path) -> None:
    key: tuple[object, ...] = ()
    for _ in range(60):
        key = (key, key)
    with pytest.raises(StoreCorrupt, match="not what LangChain"):
        read_faiss(write(tmp_path, (docstore(a="하나"), {0: key})))


def test_a_wrong_number_of_vectors_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreCorrupt, match=r"holds 5 vectors of 1536 numbers, but index\.pkl holds 1 records"):
        read_faiss(write(tmp_path, (docstore(a="하나"), {0: "a"}), 5))


def test_a_file_that_is_not_an_index_is_corrupt(tmp_path: Path) -> None:
    folder = write(tmp_path, (docstore(a="하나"), {0: "a"}))
    for content in (b"IxF2", b"%PDF" + bytes(100)):
        (folder / "index.faiss").write_bytes(content)
        with pytest.raises(StoreCorrupt, match=r"index\.faiss"):
            read_faiss(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreCorrupt, match=r"index\.pkl: No such file"):
        read_faiss(tmp_path)
