"""Documents cut into the chunks that are embedded and found: whole sentences where they fit, with exact offsets."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import regex

from pipelines.chat.store.documents import Document

MAX_CHARACTERS = 240
"""Some three to five Korean sentences: few enough facts for one embedding, enough around them to understand one."""

Span = tuple[int, int]

# A sentence ends behind its punctuation and what closes a quotation there, if space follows (so not within "3.5"), or
# where a line ends; a heading is a sentence of its own.
# A row of punctuation is looked at from its begin only: from each of its characters, a long one takes its square.
_SENTENCE = re.compile(
    r"\S(?:[^\n]*?(?:(?:(?<![.!?…。！？])|(?<=\A.)|(?<=\s.))[.!?…。！？]++[\"'”’」』)\]]*+(?=\s)|(?=\n)|\Z))"
)
_HEADING = re.compile(r"#{1,6}\s")
_CLUSTER = regex.compile(r"\X")


@dataclass(frozen=True, slots=True)
class Chunk:
    """`text` is the named document's [start, end), in code points."""

    document: str
    start: int
    end: int
    text: str


def chunks_of(document: Document, max_characters: int = MAX_CHARACTERS) -> Iterator[Chunk]:
    """Chunks in order, none overlapping, each of at most `max_characters`, neither end on blank space.

    Every character that is not blank is in one of them. A Markdown heading begins a chunk. Raises ValueError where
    `max_characters` leaves no room for one.
    """
    if max_characters < 1:
        raise ValueError(f"chunks of at most {max_characters} characters")
    for start, end in _packed(document.text, max_characters):
        yield Chunk(document.name, start, end, document.text[start:end])


def sentence_spans(text: str) -> Iterator[Span]:
    """Half-open spans of the sentences, without the blank space around them."""
    for match in _SENTENCE.finditer(text):
        start, end = match.span()
        yield start, start + len(text[start:end].rstrip())


def _packed(text: str, limit: int) -> Iterator[Span]:
    """As many sentences as fit, one after the other; a heading starts anew."""
    open_span: Span | None = None
    for start, end in _pieces(text, limit):
        if open_span is not None and end - open_span[0] <= limit and not _HEADING.match(text, start):
            open_span = open_span[0], end
            continue
        if open_span is not None:
            yield open_span
        open_span = start, end
    if open_span is not None:
        yield open_span


def _pieces(text: str, limit: int) -> Iterator[Span]:
    """The sentences, those over the limit cut."""
    for start, end in sentence_spans(text):
        while end - start > limit:
            cut = _cut(text, start, limit)
            yield start, start + len(text[start:cut].rstrip())
            start = next(place for place in range(cut, end) if not text[place].isspace())
        yield start, end


def _cut(text: str, start: int, limit: int) -> int:
    """Where to cut a sentence that begins at `start`: behind its last word that fits, or else between characters.

    A user-perceived character (UAX 29) is cut only where it is longer than the limit by itself.
    """
    for place in range(start + limit, start, -1):
        if text[place].isspace():
            return place
    ends = [match.end() for match in _CLUSTER.finditer(text, start, start + limit + 1)]
    return next((end for end in reversed(ends) if end <= start + limit), start + limit)
