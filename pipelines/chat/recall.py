"""Measure how often a search finds the passage that holds the answer."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.chat.store.build import Encodes
from pipelines.chat.store.passage import Passage
from pipelines.chat.store.store import Float32, Store
from pipelines.errors import DocumentUnreadable

Find = Callable[[str, Float32], Awaitable[list[Passage]]]


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the fact that answers it: a piece of the named document's text."""

    question: str
    document: str
    fact: str


@dataclass(frozen=True, slots=True)
class Recall:
    """The share of questions for which one of the passages found contains the whole fact.

    lexical   searched by words
    vector    searched by meaning
    combined  searched by both
    """

    lexical: float
    vector: float
    combined: float


def read_questions(path: Path) -> list[Question]:
    """Read JSON Lines with the keys `question`, `document` and `fact`. Raises DocumentUnreadable."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        questions = [Question(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError) as error:
        raise DocumentUnreadable(str(path), "not JSON Lines with the keys question, document and fact") from error
    if not questions:
        raise DocumentUnreadable(str(path), "it contains no questions")
    return questions


async def recall(store: Store, embedder: Encodes, questions: Sequence[Question], limit: int) -> Recall:
    """Measure the recall of each way to search among its first `limit` passages."""

    async def share(find: Find) -> float:
        found = [await find(one.question, vector) for one, vector in zip(questions, vectors, strict=True)]
        return sum(map(_holds, questions, found)) / len(questions)

    vectors = embedder.embed([one.question for one in questions], "query")
    return Recall(
        lexical=await share(lambda text, _: store.matching(text, limit)),
        vector=await share(lambda _, vector: store.nearest(vector, limit)),
        combined=await share(lambda text, vector: store.search(text, vector, limit)),
    )


def _holds(question: Question, passages: Sequence[Passage]) -> bool:
    return any(passage.document == question.document and question.fact in passage.text for passage in passages)
