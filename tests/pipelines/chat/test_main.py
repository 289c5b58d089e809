import json
import sys
from pathlib import Path

import pytest

from pipelines.chat.__main__ import main
from pipelines.chat.sample import PERSONA, QUESTIONS
from pipelines.chat.store.file import STORE, read_store
from pipelines.checkpoints.resolve import ROOT
from tests.conftest import MakeCheckpoint
from tests.pipelines.chat.langchain_classes import Docstore, LangChainDocument, pretending
from tests.pipelines.chat.store.test_langchain import FOLDER, write
from tests.pipelines.checkpoints.damage import Planted


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["pipelines.chat", *map(str, arguments)])
    return main()


@pytest.mark.slow
def test_a_store_is_built_from_a_folder_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert run(monkeypatch, "build", PERSONA, tmp_path / "store") == 0
    output = capsys.readouterr()
    assert "store: 30 chunks" in output.out
    assert "30/30" in output.err  # the progress bar
    assert run(monkeypatch, "recall", tmp_path / "store", QUESTIONS) == 0
    shares = json.loads(capsys.readouterr().out)
    assert {"questions", "limit", "lexical", "vector", "combined"} == shares.keys()
    assert shares["combined"] > 0.5


def test_the_texts_of_a_langchain_folder_are_embedded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: MakeCheckpoint
) -> None:
    checkpoint = imported("static")
    assert run(monkeypatch, "import-faiss", FOLDER, tmp_path, "--checkpoint", checkpoint) == 0
    _, content = read_store(tmp_path / STORE)
    assert content.vectors.shape == (2, 32)  # the checkpoint's dimension; vectors in the folder have four numbers
    assert content.document_names == ["family.txt#1", "cats.txt#2"]


class Author:
    """A class of the program that made a store."""


def test_the_name_of_the_files_and_inert_classes_are_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], imported: MakeCheckpoint
) -> None:
    write(tmp_path, (Docstore({"a": LangChainDocument("글", source="a.txt", author=Author())}), {0: "a"}))
    for ending in ("pkl", "faiss"):
        (tmp_path / f"index.{ending}").rename(tmp_path / f"kb.{ending}")
    arguments = ["import-faiss", tmp_path, tmp_path / "store", "--checkpoint", imported("static")]
    for option in (["--index-name", "kb"], ["--inert", f"{__name__}.Author"]):
        assert run(monkeypatch, *arguments) == 1
        assert f"add {' '.join(option)}" in capsys.readouterr().err
        arguments += option
    assert run(monkeypatch, *arguments) == 0
    assert read_store(tmp_path / "store" / STORE)[1].document_names == ["a.txt#1"]


def test_a_hostile_folder_is_refused_and_nothing_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], imported: MakeCheckpoint
) -> None:
    with pretending():
        content = (Docstore({"a": LangChainDocument("글", planted=Planted(tmp_path / "mark"))}), {0: "a"})
        write(tmp_path, content)
    assert run(monkeypatch, "import-faiss", tmp_path, tmp_path / "store", "--checkpoint", imported("static")) == 1
    assert "StoreUnsafe" in (error := capsys.readouterr().err)
    assert "names posix.system" in error
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / "mark").exists()


def test_a_store_of_another_checkpoint_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], imported: MakeCheckpoint
) -> None:
    monkeypatch.chdir(ROOT)
    assert run(monkeypatch, "build", PERSONA, tmp_path, "--checkpoint", imported("static")) == 0
    assert run(monkeypatch, "recall", tmp_path, QUESTIONS) == 1
    assert "StoreMismatch" in capsys.readouterr().err


@pytest.mark.parametrize("documents", ["missing", "a.txt"])
def test_an_unreadable_document_gives_an_error_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    documents: str,
    imported: MakeCheckpoint,
) -> None:
    (tmp_path / "a.txt").write_bytes("한글".encode("cp949"))
    checkpoint = imported("static")
    assert run(monkeypatch, "build", tmp_path / documents, tmp_path / "store", "--checkpoint", checkpoint) == 1
    assert capsys.readouterr().err.startswith("DocumentUnreadable: ")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_chunk_size_below_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], count: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "build", PERSONA, tmp_path / "store", "--max-characters", count)
    assert "--max-characters" in capsys.readouterr().err


def test_a_store_that_can_not_be_written_gives_an_error_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], imported: MakeCheckpoint
) -> None:
    (tmp_path / "file").write_text("")
    checkpoint = imported("static")
    assert run(monkeypatch, "build", PERSONA, tmp_path / "file" / "store", "--checkpoint", checkpoint) == 1
    assert "NotADirectoryError" in capsys.readouterr().err
