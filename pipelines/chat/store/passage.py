"""What a search of a store answers with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, with where it stands and how well it matched."""

    document: str
    """The document's name in its store, e.g. "family.md"."""
    start: int
    """Half-open [start, end) in the document, in Unicode code points."""
    end: int
    text: str
    """`document[start:end]`."""
    score: float
    """Combined, what the ranking is by."""
    similarity: float | None
    """Cosine of query and passage in [-1, 1]; None: not among the nearest by vector."""
    lexical: float | None
    """BM25; None: not found by words."""
