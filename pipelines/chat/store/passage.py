"""The result of a search in a store."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, its place, and how well it matched."""

    document: str
    """The document's name in its store, e.g. "family.md"."""
    start: int
    """Half-open [start, end) in the document, in Unicode code points."""
    end: int
    text: str
    """`document[start:end]`."""
    score: float
    """The combined score, by which passages are ranked."""
    similarity: float | None
    """Cosine of query and passage in [-1, 1]; None where the search compared no vectors."""
    lexical: float | None
    """BM25; None where the passage contains none of the query's words, or the search compared no words."""
