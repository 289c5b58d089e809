import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.chat.store import build as build_module
from pipelines.chat.store.build import UNFINISHED, build, wants_build
from pipelines.chat.store.documents import Document
from pipelines.chat.store.file import STORE, StoreContent, read_store
from pipelines.errors import DocumentUnreadable, StoreCorrupt
from pipelines.format.manifest import Role
from tests.pipelines.chat.store.stores import HashEmbedder
from tests.pipelines.checkpoints.damage import cut

DOCUMENTS = [Document(f"{number}.txt", f"{number}번 문서다. 고양이가 {number}마리다.") for number in range(20)]


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "PORTION", 4)


class Stopped(Exception):
    """Raised in the middle of a build."""


class StoppingEmbedder(HashEmbedder):
    """Raises Stopped, or kills its process, when asked for more than `portions` portions."""

    def __init__(self, portions: int, *, kill: bool = False) -> None:
        super().__init__()
        self.portions, self.kill = portions, kill

    def embed(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        if len(texts) > 1:
            self.portions -= 1
        if self.portions < 0 and self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.portions < 0:
            raise Stopped
        return super().embed(texts, role)


def vectors_of(documents: Sequence[Document]) -> NDArray[np.float32]:
    return HashEmbedder().embed([document.text for document in documents], "document")


def stop_a_build(folder: Path, portions: int) -> None:
    with pytest.raises(Stopped):
        build(DOCUMENTS, folder, StoppingEmbedder(portions))


def build_and_die(folder: Path) -> None:
    build_module.PORTION = 4  # the fixture has no effect in this new process
    build(DOCUMENTS, folder, StoppingEmbedder(3, kill=True))


def assert_same(left: Path, right: Path) -> None:
    (left_header, left_content), (right_header, right_content) = read_store(left / STORE), read_store(right / STORE)
    assert left_header == right_header
    for name in StoreContent.__slots__:
        np.testing.assert_array_equal(getattr(left_content, name), getattr(right_content, name))


def test_a_store_holds_its_chunks_and_their_vectors_in_order(tmp_path: Path) -> None:
    embedder = HashEmbedder()
    assert build(DOCUMENTS, tmp_path / "notes", embedder) == 20
    assert embedder.roles == {"document"}
    header, content = read_store(tmp_path / "notes" / STORE)
    assert header.checkpoint == HashEmbedder().checkpoint
    assert content.document_names == [document.name for document in DOCUMENTS]
    np.testing.assert_array_equal(content.vectors, vectors_of(DOCUMENTS))


def test_a_build_leaves_only_the_store(tmp_path: Path) -> None:
    build(DOCUMENTS, tmp_path, HashEmbedder())
    assert {path.name for path in tmp_path.iterdir()} <= {STORE, ".lock"}


def test_a_repeated_text_is_kept_only_at_its_first_place(tmp_path: Path) -> None:
    texts = {"a": "하나다.", "b": "둘이다.", "c": "하나다."}
    assert build([Document(name, text) for name, text in texts.items()], tmp_path, HashEmbedder()) == 2
    assert read_store(tmp_path / STORE)[1].document_names == ["a", "b"]


def test_the_same_documents_are_not_embedded_again(tmp_path: Path) -> None:
    build(DOCUMENTS, tmp_path, HashEmbedder())
    before = (tmp_path / STORE).stat()
    again = HashEmbedder()
    assert build(DOCUMENTS, tmp_path, again) == 20
    assert again.embedded == []
    assert (tmp_path / STORE).stat().st_ino == before.st_ino


def test_a_build_is_wanted_only_where_it_would_not_replace_other_documents(tmp_path: Path) -> None:
    checkpoint = HashEmbedder().checkpoint
    assert wants_build(DOCUMENTS, tmp_path, checkpoint)
    build(DOCUMENTS, tmp_path, HashEmbedder())
    assert not wants_build(DOCUMENTS, tmp_path, checkpoint)
    assert wants_build(DOCUMENTS, tmp_path, "another")
    assert not wants_build(DOCUMENTS[1:], tmp_path, "another")


def test_a_damaged_store_of_the_same_documents_wants_a_build_and_an_unreadable_header_is_an_error(
    tmp_path: Path,
) -> None:
    build(DOCUMENTS, tmp_path, HashEmbedder())
    whole = (tmp_path / STORE).read_bytes()
    (tmp_path / STORE).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert wants_build(DOCUMENTS, tmp_path, HashEmbedder().checkpoint)
    cut(tmp_path / STORE, 100)
    with pytest.raises(StoreCorrupt):
        wants_build(DOCUMENTS, tmp_path, HashEmbedder().checkpoint)


@pytest.mark.parametrize(
    ("documents", "checkpoint", "max_characters"),
    [(DOCUMENTS[:-1], "0123456789abcdef", 240), (DOCUMENTS, "another", 240), (DOCUMENTS, "0123456789abcdef", 12)],
)
def test_other_documents_checkpoints_or_sizes_build_a_new_store(
    tmp_path: Path, documents: list[Document], checkpoint: str, max_characters: int
) -> None:
    build(DOCUMENTS, tmp_path, HashEmbedder())
    before = read_store(tmp_path / STORE)[0]
    build(documents, tmp_path, HashEmbedder(checkpoint), max_characters=max_characters)
    assert read_store(tmp_path / STORE)[0] != before


def test_a_corrupt_store_is_built_again(tmp_path: Path) -> None:
    build(DOCUMENTS, tmp_path, HashEmbedder())
    cut(tmp_path / STORE, 100)
    build(DOCUMENTS, tmp_path, HashEmbedder())
    assert len(read_store(tmp_path / STORE)[1].vectors) == 20


@pytest.mark.slow
def test_a_killed_build_continues_where_it_stopped(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=build_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / STORE).exists()
    rest = HashEmbedder()
    build(DOCUMENTS, tmp_path, rest)
    assert rest.embedded[1:] == [
        document.text for document in DOCUMENTS[12:]
    ]  # the first chunk is embedded again to learn the dimension
    build(DOCUMENTS, tmp_path / "at once", HashEmbedder())
    assert_same(tmp_path, tmp_path / "at once")


@settings(max_examples=40)
@given(left=st.integers(0, 12 * 32))
def test_a_vector_file_of_any_length_leads_to_the_same_store(
    tmp_path_factory: pytest.TempPathFactory, left: int
) -> None:
    folder = tmp_path_factory.mktemp("notes")
    build(DOCUMENTS[:12], folder / "at once", HashEmbedder())
    header, content = read_store(folder / "at once" / STORE)
    unfinished = folder / "resumed" / UNFINISHED / f"{header.checkpoint}-{header.chunks}"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(content.vectors.tobytes()[:left])
    build(DOCUMENTS[:12], folder / "resumed", HashEmbedder())
    assert_same(folder / "resumed", folder / "at once")


def test_vectors_of_other_documents_are_removed(tmp_path: Path) -> None:
    stop_a_build(tmp_path, portions=3)
    build(DOCUMENTS[:3], tmp_path, HashEmbedder())
    np.testing.assert_array_equal(read_store(tmp_path / STORE)[1].vectors, vectors_of(DOCUMENTS[:3]))
    assert not (tmp_path / UNFINISHED).exists()


def test_vectors_left_by_a_build_killed_at_its_end_are_removed(tmp_path: Path) -> None:
    build(DOCUMENTS, tmp_path, HashEmbedder())
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / "vectors").write_bytes(bytes(640))
    build(DOCUMENTS, tmp_path, HashEmbedder())
    assert not (tmp_path / UNFINISHED).exists()


def test_vectors_are_on_the_disk_before_the_next_portion_is_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda number: synced.append(os.fstat(number).st_size))
    stop_a_build(tmp_path, portions=3)
    assert synced == [4 * 32, 8 * 32, 12 * 32]


def test_a_stopped_rebuild_keeps_the_old_store(tmp_path: Path) -> None:
    build(DOCUMENTS[:3], tmp_path, HashEmbedder())
    before = (tmp_path / STORE).read_bytes()
    stop_a_build(tmp_path, portions=1)
    assert (tmp_path / STORE).read_bytes() == before


def test_two_concurrent_builds_leave_one_complete_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=build, args=(DOCUMENTS, tmp_path, HashEmbedder())) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(read_store(tmp_path / STORE)[1].vectors) == 20


def test_documents_without_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentUnreadable, match="no text"):
        build([Document("a", " \n")], tmp_path / "notes", HashEmbedder())
    assert not (tmp_path / "notes").exists()
