"""The values of a chat: request, passages found, reply and citations."""

from dataclasses import dataclass, field

from pydantic import SecretStr

from pipelines.chat.store.passage import Passage
from pipelines.sts.pipeline import Embedding


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A question about the documents of a store. `key` is the caller's key at the language-model provider."""

    prompt: str
    db_path: str
    key: SecretStr


@dataclass(frozen=True, slots=True)
class Citation:
    """The place of an answer, `[start, end)` of a document in Unicode code points, and the scores of its passage."""

    store: str
    document: str
    start: int
    end: int
    score: float
    similarity: float | None
    lexical: float | None

    @classmethod
    def of(cls, store: str, passage: Passage, start: int | None = None, end: int | None = None) -> "Citation":
        """Cite the whole passage, or `[start, end)` of its text."""
        first = passage.start + (start or 0)
        last = passage.end if end is None else passage.start + end
        return cls(store, passage.document, first, last, passage.score, passage.similarity, passage.lexical)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer and its citations, best first, with the passage that each citation is from or in."""

    output: str
    citations: tuple[Citation, ...]
    passages: tuple[Passage, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Grounds:
    """What an answer is made from: the passages found, best first, and the store's name.

    question  the question's embedding; None where the STS checkpoint gives none
    """

    store: str
    passages: tuple[Passage, ...]
    question: Embedding | None = None
