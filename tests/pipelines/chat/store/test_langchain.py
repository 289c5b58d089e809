"""langchain-community 0.4.2 and faiss-cpu 1.15.1 wrote `langchain_folder`: two texts, vectors of 4 numbers."""

import datetime
import functools
import os
import pickle
import struct
import uuid
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from pipelines.chat.store.documents import Document
from pipelines.chat.store.langchain import read_faiss
from pipelines.errors import StoreCorrupt, StoreUnsafe
from tests.pipelines.chat.langchain_classes import Docstore, LangChainDocument, pretending
from tests.pipelines.checkpoints.damage import Planted

FOLDER = Path(__file__).parent / "langchain_folder"


def write(folder: Path, content: object, count: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
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


def test_metadata_with_inert_values_is_read_and_names_the_source(tmp_path: Path) -> None:
    day = datetime.date(2023, 5, 1)
    documents = Docstore(
        {
            1: LangChainDocument("하나", source=Path("/data/a.txt"), published=day, tags=frozenset({"x"})),
            2: LangChainDocument("둘", source="b.txt", scores={day: [np.float64(0.5), Decimal(1)]}),
            3: LangChainDocument("셋", source=day),
        }
    )
    folder = write(tmp_path / "store", (documents, {0: 1, 1: 2, 2: 3}), 3)
    assert read_faiss(folder) == [
        Document("a.txt#1", "하나"),
        Document("b.txt#2", "둘"),
        Document("store#3", "셋"),
    ]


def test_metadata_that_is_an_ordered_dict_names_the_source(tmp_path: Path) -> None:
    document = LangChainDocument("하나")
    document.state["__dict__"] = {"page_content": "하나", "metadata": OrderedDict(source="a.txt")}
    assert read_faiss(write(tmp_path, (Docstore({"a": document}), {0: "a"}))) == [Document("a.txt#1", "하나")]


def test_a_planted_call_beside_inert_metadata_is_refused_and_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "the planted code ran"
    documents = {
        "a": LangChainDocument("하나", day=datetime.date(2023, 5, 1), id=uuid.UUID(int=5)),
        "b": LangChainDocument("둘", day=datetime.date(2023, 5, 1), scores=np.arange(3), call=Planted(mark)),
    }
    folder = write(tmp_path, (Docstore(documents), {0: "a", 1: "b"}), 2)
    with pytest.raises(StoreUnsafe, match=r"index\.pkl: names posix\.system,"):
        read_faiss(folder)
    assert not mark.exists()
    documents["b"] = LangChainDocument("둘", day=datetime.date(2023, 5, 1), scores=np.arange(3))
    assert len(read_faiss(write(tmp_path, (Docstore(documents), {0: "a", 1: "b"}), 2))) == 2


@pytest.mark.parametrize("call", [os.system, eval, getattr, __import__, functools.partial])
def test_a_reference_to_a_function_in_the_metadata_is_refused(tmp_path: Path, call: object) -> None:
    with pytest.raises(StoreUnsafe, match="names "):
        read_faiss(write(tmp_path, (Docstore({"a": LangChainDocument("하나", call=call)}), {0: "a"})))


def renamed(folder: Path, *names: str) -> Path:
    for name in names:
        for ending in (".pkl", ".faiss"):
            (folder / f"{name}{ending}").write_bytes((FOLDER / f"index{ending}").read_bytes())
    return folder


def test_files_of_another_index_name_are_read_by_it(tmp_path: Path) -> None:
    assert read_faiss(renamed(tmp_path, "kb"), "kb") == read_faiss(FOLDER)
    assert read_faiss(renamed(tmp_path, "v1.2"), "v1.2") == read_faiss(FOLDER)


def test_a_pair_of_another_name_is_named_with_the_option(tmp_path: Path) -> None:
    renamed(tmp_path, "kb")
    with pytest.raises(StoreCorrupt, match=r"index\.pkl: there is no such file.*: add --index-name kb$"):
        read_faiss(tmp_path)
    renamed(tmp_path, "my notes")
    with pytest.raises(StoreCorrupt, match=r"add --index-name kb or --index-name 'my notes'$"):
        read_faiss(tmp_path, "index")


def test_half_of_a_pair_of_another_name_is_not_offered(tmp_path: Path) -> None:
    (renamed(tmp_path, "kb") / "kb.faiss").unlink()
    with pytest.raises(StoreCorrupt, match=r"index\.pkl: No such file"):
        read_faiss(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreCorrupt, match=r"index\.pkl: No such file"):
        read_faiss(tmp_path)
