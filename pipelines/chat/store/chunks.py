"""Cut documents into the chunks that are embedded and found: whole sentences where they fit, with exact offsets."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import regex

from pipelines.chat.store.documents import Document

MAX_CHARACTERS = 240
"""Three to five Korean sentences: few enough facts for one embedding, enough context to understand each of them."""

Span = tuple[int, int]

# A sentence ends after its punctuation and closing quotation marks if a space follows (so not within "3.5"), or at the
# end of a line. A heading is a sentence of its own.
# A run of punctuation is matched from its first character only: trying each of its characters takes quadratic time.
_SENTENCE = re.compile(
    r"\S(?:[^\n]*?(?:(?:(?<![.!?…。！？])|(?<=\A.)|(?<=\s.))[.!?…。！？]++[\"'”’」』)\]]*+(?=\s)|(?=\n)|\Z))"
)
_HEADING = re.compile(r"#{1,6}\s")
_CLUSTER = regex.compile(r"\X")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document. `text` is [start, end) of the document, in code points."""

    document: str
    start: int
    end: int
    text: str


def chunks_of(document: Document, max_characters: int = MAX_CHARACTERS) -> Iterator[Chunk]:
    """Cut a document into chunks of at most `max_characters`, in order and without overlap.

    Chunks neither begin nor end with white space, and every other character is in one of them. A Markdown heading
    begins a chunk. Raises ValueError where `max_characters` is below 1.
    """
    if max_characters < 1:
        raise ValueError(f"a chunk of at most {max_characters} characters has no room for text")
    for start, end in _packed(document.text, max_characters):
        yield Chunk(document.name, start, end, document.text[start:end])


def sentence_spans(text: str) -> Iterator[Span]:
    """Yield [start, end) of each sentence, without the white space around it."""
    for match in _SENTENCE.finditer(text):
        start, end = match.span()
        yield start, start + len(text[start:end].rstrip())


def _packed(text: str, limit: int) -> Iterator[Span]:
    """Join sentences while they fit into `limit` characters. A heading begins a new span."""
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
    """Yield the sentences; those over the limit are cut into pieces."""
    for start, end in sentence_spans(text):
        while end - start > limit:
            cut = _cut(text, start, limit)
            yield start, start + len(text[start:cut].rstrip())
            start = next(place for place in range(cut, end) if not text[place].isspace())
        yield start, end


def _cut(text: str, start: int, limit: int) -> int:
    """Where to cut a sentence that begins at `start`: after the last word that fits, otherwise between characters.

    A user-perceived character (UAX 29) is cut only where it alone is longer than the limit.
    """
    for place in range(start + limit, start, -1):
        if text[place].isspace():
            return place
    ends = [match.end() for match in _CLUSTER.finditer(text, start, start + limit + 1)]
    return next((end for end in reversed(ends) if end <= start + limit), start + limit)
