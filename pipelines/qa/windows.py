"""Questions and contexts as overlapping windows of tokens, with the way back to characters.

A window holds the question, cut at `max_query_length` tokens, and a stretch of the context; together with the special
tokens never more than `max_seq_length`. Windows advance by `doc_stride` context tokens, as in BERT's own SQuAD code
(Devlin et al. 2019, https://arxiv.org/abs/1810.04805). Training and serving both make their features here.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from pipelines.format.windows import WindowSettings
from pipelines.qa.overlap import GRADES, Bigrams, bigrams, frequencies, overlap_grades, overlapping_tokens
from pipelines.text.normalization import Normalized, nfc
from pipelines.text.token_batch import CheckpointRef, Int32, TokenBatch

OVERLAP_TYPE = 2
"""The first of the token types that mark what a context token shares with the question."""
OVERLAP_TYPES = (0, 1, GRADES)
"""How many of them there can be."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of several (question, context) requests, in order.

    tokens     one item per window; its regions are the context's tokens
    request    (windows,) int32: which request the window belongs to
    first      (windows,) int32: row of `offsets` of the window's first context token
    offsets    (tokens of all contexts, 2) int32: half-open character spans in the context; requests on one context
               share its rows
    """

    tokens: TokenBatch
    request: Int32
    first: Int32
    offsets: Int32


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """The special tokens around a pair, read off the tokenizer itself: `head question middle context tail`."""

    head: tuple[int, ...]
    middle: tuple[int, ...]
    tail: tuple[int, ...]
    question_type: int
    context_type: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self:
        """Learned from one encoded pair; both texts must give at least one token."""
        pair = tokenizer.encode("a", "b")
        ids, types, owner = pair.ids, pair.type_ids, pair.sequence_ids
        question = [i for i, part in enumerate(owner) if part == 0]
        context = [i for i, part in enumerate(owner) if part == 1]
        return cls(
            head=tuple(ids[: question[0]]),
            middle=tuple(ids[question[-1] + 1 : context[0]]),
            tail=tuple(ids[context[-1] + 1 :]),
            question_type=types[question[0]],
            context_type=types[context[0]],
        )

    @property
    def size(self) -> int:
        """How many special tokens a pair has."""
        return len(self.head) + len(self.middle) + len(self.tail)


class WindowMaker:
    """Cuts contexts into windows with one tokenizer.

    With `overlap_types` 1 a context token that shares a character bigram with the question has type 2: a feature that
    lets small models find the passage. With GRADES of them it has type 2 to GRADES + 1, by `overlap_grades`.
    """

    def __init__(self, tokenizer: Tokenizer, settings: WindowSettings, *, overlap_types: int = 0) -> None:
        if overlap_types not in OVERLAP_TYPES:
            raise ValueError(f"overlap_types {overlap_types} is not one of {OVERLAP_TYPES}")
        self._tokenizer = tokenizer
        self._settings = settings
        self._overlap_types = overlap_types
        self._template = PairTemplate.of(tokenizer)

    def __call__(self, requests: Sequence[tuple[str, str]], checkpoint: CheckpointRef) -> Windows:
        """(question, context) pairs to their windows; a context without a token gives none.

        A question or context of several requests is encoded once.
        """
        queries = self._queries(dict.fromkeys(question for question, _ in requests))
        passages = self._passages(dict.fromkeys(context for _, context in requests))
        cuts = [self._cut(queries[question], passages[context]) for question, context in requests]
        return _join(cuts, list(passages.values()), checkpoint)

    def _queries(self, questions: Collection[str]) -> dict[str, "_Query"]:
        texts = [nfc(question) for question in questions]
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)  # fast: without offsets
        return dict(zip(questions, map(self._query, texts, encodings), strict=True))

    def _query(self, question: str, asked: Encoding) -> "_Query":
        ids = asked.ids[: self._settings.max_query_length]
        return _Query(
            before=np.array([*self._template.head, *ids, *self._template.middle], dtype=np.int32),
            cut=len(asked) > len(ids),
            bigrams=bigrams(question) if self._overlap_types else None,
        )

    def _passages(self, contexts: Collection[str]) -> dict[str, "_Passage"]:
        texts = [Normalized.of(context) for context in contexts]
        encodings = self._tokenizer.encode_batch([text.text for text in texts], add_special_tokens=False)
        rows = accumulate(map(len, encodings), initial=0)
        return dict(zip(contexts, map(self._passage, texts, encodings, rows), strict=True))

    def _passage(self, context: Normalized, read: Encoding, row: int) -> "_Passage":
        flat = np.fromiter(chain.from_iterable(read.offsets), dtype=np.int32, count=2 * len(read))
        pairs = bigrams(context.text) if self._overlap_types else None
        return _Passage(
            ids=np.array(read.ids, dtype=np.int32),
            row=row,
            offsets=flat.reshape(-1, 2),
            original_offsets=context.to_original(flat.reshape(-1, 2)),
            bigrams=pairs,
            frequencies=frequencies(pairs) if pairs is not None and self._overlap_types == GRADES else None,
        )

    def _cut(self, query: "_Query", passage: "_Passage") -> "_Cut":
        tail = np.array(self._template.tail, dtype=np.int32)
        before, tokens = len(query.before), len(passage.ids)
        types = np.full(before + tokens + len(tail), self._template.context_type, dtype=np.uint8)
        types[:before] = self._template.question_type
        grades = self._grades(query, passage)
        types[before : before + tokens][grades > 0] = grades[grades > 0] + (OVERLAP_TYPE - 1)
        room = self._settings.max_seq_length - before - len(tail)
        return _Cut(
            ids=np.concatenate((query.before, passage.ids, tail)),
            types=types,
            context=(before, before + tokens),
            room=room,
            starts=window_starts(tokens, room, self._settings.stride(room)),
            row=passage.row,
            question_cut=query.cut,
        )

    def _grades(self, query: "_Query", passage: "_Passage") -> NDArray[np.uint8]:
        """(tokens of the context,) 0 where a token has nothing from the question."""
        if query.bigrams is None or passage.bigrams is None:
            return np.zeros(len(passage.ids), dtype=np.uint8)
        if passage.frequencies is None:
            return overlapping_tokens(query.bigrams, passage.bigrams, passage.offsets).astype(np.uint8)
        return overlap_grades(query.bigrams, passage.bigrams, passage.frequencies, passage.offsets)


@dataclass(frozen=True, slots=True, eq=False)
class _Query:
    """A question, ready to stand in windows.

    before   (tokens,) what precedes every stretch of the context
    cut      whether the question was too long
    bigrams  None where nobody asks for them
    """

    before: Int32
    cut: bool
    bigrams: Bigrams | None


@dataclass(frozen=True, slots=True, eq=False)
class _Passage:
    """A context, encoded.

    ids               (tokens,)
    row               of the first token among the tokens of all contexts
    offsets           (tokens, 2) in characters of the normalised text
    original_offsets  (tokens, 2) in characters of the text as it came
    bigrams           of the normalised text; None where nobody asks for them
    frequencies       of the bigrams; likewise
    """

    ids: Int32
    row: int
    offsets: Int32
    original_offsets: Int32
    bigrams: Bigrams | None
    frequencies: NDArray[np.int64] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """One request as a single long window, and what stretches of its context the real ones hold.

    ids, types  (tokens,)
    context     where the context begins and ends among them
    room        the most context tokens of a window
    starts      (windows,) first token of each stretch, counted in the context
    row         as the passage's
    """

    ids: Int32
    types: NDArray[np.uint8]
    context: tuple[int, int]
    room: int
    starts: NDArray[np.int64]
    row: int
    question_cut: bool


def window_starts(tokens: int, room: int, stride: int) -> NDArray[np.int64]:
    """Where windows of `room` tokens, `stride` apart, start so that they cover `tokens` of them."""
    end = max(tokens - room, 0) + stride if tokens else 0
    return np.arange(0, end, stride, dtype=np.int64)


def _join(cuts: Sequence[_Cut], passages: Sequence[_Passage], checkpoint: CheckpointRef) -> Windows:
    """All windows of all requests, gathered in one go from the requests laid end to end."""
    request = np.repeat(np.arange(len(cuts)), [len(cut.starts) for cut in cuts])
    starts = np.concatenate([np.empty(0, dtype=np.int64), *(cut.starts for cut in cuts)])
    per_request = [(len(cut.ids), *cut.context, cut.room, cut.row) for cut in cuts]
    sizes, lows, highs, rooms, rows = np.array(per_request, dtype=np.int64).reshape(-1, 5).T
    laid = (np.cumsum(sizes) - sizes)[request]  # where the window's request begins
    low, high = lows[request], highs[request]
    held = np.minimum(rooms[request], high - low - starts)
    begins = np.stack((laid, laid + low + starts, laid + high), axis=1)  # (windows, 3): before, stretch, tail
    lengths = np.stack((low, held, sizes[request] - high), axis=1)
    tokens = _ranges(begins.ravel(), lengths.ravel())
    return Windows(
        tokens=TokenBatch(
            checkpoint=checkpoint,
            ids=np.concatenate([np.empty(0, dtype=np.int32), *(cut.ids for cut in cuts)])[tokens],
            types=np.concatenate([np.empty(0, dtype=np.uint8), *(cut.types for cut in cuts)])[tokens],
            lengths=lengths.sum(axis=1, dtype=np.int32),
            truncated=np.array([cut.question_cut for cut in cuts], dtype=np.bool_)[request],
            regions=np.stack((low, low + held), axis=1).astype(np.int32),
        ),
        request=request.astype(np.int32),
        first=(rows[request] + starts).astype(np.int32),
        offsets=np.concatenate([np.empty((0, 2), dtype=np.int32), *(text.original_offsets for text in passages)]),
    )


def _ranges(begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The whole numbers of all ranges, end to end."""
    ends = np.cumsum(lengths)
    return np.arange(lengths.sum()) + np.repeat(begins - ends + lengths, lengths)
