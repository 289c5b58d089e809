"""Cuts contexts into overlapping windows of tokens, and maps the tokens back to characters.

A window holds the question, cut at `max_query_length` tokens, and a part of the context. With the special tokens it has
at most `max_seq_length` tokens. The next window starts `doc_stride` context tokens later, as in the SQuAD code of BERT
(Devlin et al. 2019, https://arxiv.org/abs/1810.04805). Training and serving use the same code.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from pipelines.format.windows import WindowSettings
from pipelines.text.normalization import Normalized, nfc
from pipelines.text.token_batch import CheckpointRef, Int32, TokenBatch


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of several (question, context) requests, in order.

    tokens   one item per window; its region is the part that holds context tokens
    request  (windows,) int32: the index of the request that the window belongs to
    first    (windows,) int32: the row of `offsets` of the window's first context token
    offsets  (tokens of all contexts, 2) int32: half-open character spans in the context; requests with the same
             context share its rows
    """

    tokens: TokenBatch
    request: Int32
    first: Int32
    offsets: Int32


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """The special tokens around a pair of texts: `head question middle context tail`."""

    head: tuple[int, ...]
    middle: tuple[int, ...]
    tail: tuple[int, ...]
    question_type: int
    context_type: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self:
        """Derive the template by encoding a pair of one-letter texts."""
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
        """The number of special tokens of a pair."""
        return len(self.head) + len(self.middle) + len(self.tail)


class WindowMaker:
    """Cuts contexts into windows with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, settings: WindowSettings) -> None:
        self._tokenizer = tokenizer
        self._settings = settings
        self._template = PairTemplate.of(tokenizer)

    def __call__(
        self,
        requests: Sequence[tuple[str, str]],
        checkpoint: CheckpointRef,
        settings: Sequence[WindowSettings | None] | None = None,
    ) -> Windows:
        """The windows of (question, context) pairs. A context without tokens has no window.

        A question or context that several requests share is encoded once. A request may have `settings` of its own.
        """
        chosen = [own or self._settings for own in settings or [None] * len(requests)]
        asked = [(question, own.max_query_length) for (question, _), own in zip(requests, chosen, strict=True)]
        queries = self._queries(dict.fromkeys(asked))
        passages = self._passages(dict.fromkeys(context for _, context in requests))
        cuts = [
            self._cut(queries[query], passages[context], own)
            for query, (_, context), own in zip(asked, requests, chosen, strict=True)
        ]
        return _join(cuts, list(passages.values()), checkpoint)

    def _queries(self, asked: Collection[tuple[str, int]]) -> dict[tuple[str, int], "_Query"]:
        """The encoded questions by text and most tokens."""
        texts = [nfc(question) for question, _ in asked]
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)  # "fast" skips the offsets
        lengths = (length for _, length in asked)
        return dict(zip(asked, map(self._query, encodings, lengths), strict=True))

    def _query(self, asked: Encoding, max_query_length: int) -> "_Query":
        ids = asked.ids[:max_query_length]
        return _Query(
            before=np.array([*self._template.head, *ids, *self._template.middle], dtype=np.int32),
            cut=len(asked) > len(ids),
        )

    def _passages(self, contexts: Collection[str]) -> dict[str, "_Passage"]:
        texts = [Normalized.of(context) for context in contexts]
        encodings = self._tokenizer.encode_batch([text.text for text in texts], add_special_tokens=False)
        rows = accumulate(map(len, encodings), initial=0)
        return dict(zip(contexts, map(self._passage, texts, encodings, rows), strict=True))

    def _passage(self, context: Normalized, read: Encoding, row: int) -> "_Passage":
        flat = np.fromiter(chain.from_iterable(read.offsets), dtype=np.int32, count=2 * len(read))
        return _Passage(
            ids=np.array(read.ids, dtype=np.int32),
            row=row,
            offsets=context.to_original(flat.reshape(-1, 2)),
        )

    def _cut(self, query: "_Query", passage: "_Passage", settings: WindowSettings) -> "_Cut":
        tail = np.array(self._template.tail, dtype=np.int32)
        before, tokens = len(query.before), len(passage.ids)
        types = np.full(before + tokens + len(tail), self._template.context_type, dtype=np.uint8)
        types[:before] = self._template.question_type
        room = settings.max_seq_length - before - len(tail)
        return _Cut(
            ids=np.concatenate((query.before, passage.ids, tail)),
            types=types,
            context=(before, before + tokens),
            room=room,
            starts=window_starts(tokens, room, settings.stride(room)),
            longest=settings.max_answer_length,
            row=passage.row,
            question_cut=query.cut,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Query:
    """An encoded question.

    before  (tokens,) the ids before the context in every window: head, question and middle
    cut     whether the question was too long and was cut
    """

    before: Int32
    cut: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Passage:
    """An encoded context.

    ids      (tokens,)
    row      the row of `Windows.offsets` of the first token
    offsets  (tokens, 2) in characters of the original text
    """

    ids: Int32
    row: int
    offsets: Int32


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """One request as a single long window, and the parts of its context that the real windows hold.

    ids, types    (tokens,) of the long window
    context       start and end of the context in the long window
    room          the maximum number of context tokens of a real window
    starts        (windows,) the first context token of each real window
    longest       most tokens of an answer
    row           the row of `Windows.offsets` of the first context token
    question_cut  whether the question was too long and was cut
    """

    ids: Int32
    types: NDArray[np.uint8]
    context: tuple[int, int]
    room: int
    starts: NDArray[np.int64]
    longest: int
    row: int
    question_cut: bool


def window_starts(tokens: int, room: int, stride: int) -> NDArray[np.int64]:
    """The starts (windows,) of windows of `room` tokens, `stride` apart, which together cover `tokens` tokens."""
    end = max(tokens - room, 0) + stride if tokens else 0
    return np.arange(0, end, stride, dtype=np.int64)


def _join(cuts: Sequence[_Cut], passages: Sequence[_Passage], checkpoint: CheckpointRef) -> Windows:
    """Build the windows of all requests with one indexing operation on their concatenated ids."""
    request = np.repeat(np.arange(len(cuts)), [len(cut.starts) for cut in cuts])
    starts = np.concatenate([np.empty(0, dtype=np.int64), *(cut.starts for cut in cuts)])
    per_request = [(len(cut.ids), *cut.context, cut.room, cut.row) for cut in cuts]
    sizes, lows, highs, rooms, rows = np.array(per_request, dtype=np.int64).reshape(-1, 5).T
    offset = (np.cumsum(sizes) - sizes)[request]  # start of the window's request in the concatenation
    low, high = lows[request], highs[request]
    held = np.minimum(rooms[request], high - low - starts)
    begins = np.stack((offset, offset + low + starts, offset + high), axis=1)  # (windows, 3): before, context, tail
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
            longest=np.array([cut.longest for cut in cuts], dtype=np.int32)[request],
        ),
        request=request.astype(np.int32),
        first=(rows[request] + starts).astype(np.int32),
        offsets=np.concatenate([np.empty((0, 2), dtype=np.int32), *(text.offsets for text in passages)]),
    )


def _ranges(begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenate the ranges [begin, begin + length)."""
    ends = np.cumsum(lengths)
    return np.arange(lengths.sum()) + np.repeat(begins - ends + lengths, lengths)
