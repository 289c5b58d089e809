"""Recall on the sample persona, with the shipped checkpoint."""

from pathlib import Path

import pytest

from pipelines.chat.embedding import Embedder
from pipelines.chat.recall import Question, Recall, read_questions, recall
from pipelines.chat.sample import PERSONA, QUESTIONS
from pipelines.chat.store.build import build
from pipelines.chat.store.chunks import chunks_of
from pipelines.chat.store.documents import read_documents
from pipelines.chat.store.store import Store
from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import DocumentUnreadable
from tests.pipelines.chat.store.stores import HashEmbedder, make_store

SHIPPED = ROOT / "checkpoints" / "sts"


def test_every_fact_occurs_once_in_its_document_and_completely_in_a_chunk() -> None:
    documents = {document.name: document for document in read_documents(PERSONA)}
    questions = read_questions(QUESTIONS)
    assert len(questions) == len({one.question for one in questions}) == 40
    for one in questions:
        assert documents[one.document].text.count(one.fact) == 1
        assert any(one.fact in chunk.text for chunk in chunks_of(documents[one.document]))


@pytest.mark.slow
@pytest.mark.anyio
async def test_words_and_meaning_together_find_at_least_as_much_as_either_alone(tmp_path: Path) -> None:
    embedder = Embedder.load(SHIPPED)
    build(read_documents(PERSONA), tmp_path, embedder)
    store = await Store.open(tmp_path)
    shares = await recall(store, embedder, read_questions(QUESTIONS), 5)
    assert shares.combined >= max(shares.lexical, shares.vector)
    assert shares.combined >= 0.9  # measured: .900; by words .850, by meaning .850


@pytest.mark.anyio
async def test_recall_counts_only_facts_found_in_the_right_document(tmp_path: Path) -> None:
    store = await Store.open(make_store(tmp_path / "notes", "고양이는 잔다.", "고양이는 창가에서 잔다."))
    questions = [
        Question("고양이", "0.txt", "고양이는 잔다"),
        Question("고양이", "1.txt", "고양이는 잔다"),
        Question("우산", "0.txt", "고양이는 잔다"),
    ]
    embedder = HashEmbedder()
    assert (await recall(store, embedder, questions, 2)) == Recall(1 / 3, 2 / 3, 2 / 3)
    assert embedder.roles == {"query"}


def test_a_file_without_questions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text("")
    with pytest.raises(DocumentUnreadable, match="contains no questions"):
        read_questions(tmp_path / "questions.jsonl")


@pytest.mark.parametrize("content", ["{", '{"question": "?"}', "[]", '{"question": "?", "document": "a", "more": 1}'])
def test_files_of_other_formats_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "questions.jsonl").write_text(content)
    with pytest.raises(DocumentUnreadable, match="not JSON Lines with the keys question"):
        read_questions(tmp_path / "questions.jsonl")
