"""What a chat is asked and what it answers."""

from dataclasses import dataclass

from pydantic import SecretStr

from pipelines.chat.store.passage import Passage
from pipelines.sts.pipeline import Embedding


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question to the documents of a store; `key` is the caller's at the language-model provider."""

    prompt: str
    db_path: str
    key: SecretStr


@dataclass(frozen=True, slots=True)
class Citation:
    """Where an answer stands: `[start, end)` of the document, in Unicode code points, and how well it matched."""

    store: str
    document: str
    start: int
    end: int
    score: float
    similarity: float | None
    lexical: float | None

    @classmethod
    def of(cls, store: str, passage: Passage, start: int | None = None, end: int | None = None) -> "Citation":
        """The passage, or `[start, end)` of its text."""
        first = passage.start + (start or 0)
        last = passage.end if end is None else passage.start + end
        return cls(store, passage.document, first, last, passage.score, passage.similarity, passage.lexical)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, and what it stands on, best first."""

    output: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Grounds:
    """What was found to answer from: the passages, best first, and the store's name.

    question  the question's embedding, where the STS checkpoint gives one
    """

    store: str
    passages: tuple[Passage, ...]
    question: Embedding | None = None
