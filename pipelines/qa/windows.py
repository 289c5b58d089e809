"""Questions and contexts as overlapping windows of tokens, with the way back to characters.

A window holds the question, cut at `max_query_length` tokens, and a stretch of the context; together with the special
tokens never more than `max_seq_length`. Windows advance by `doc_stride` context tokens, as in BERT's own SQuAD code
(Devlin et al. 2019, https://arxiv.org/abs/1810.04805). Training and serving both make their features here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from tokenizers import Encoding, Tokenizer

from pipelines.normalization import Normalized
from pipelines.qa.overlap import overlapping_tokens
from pipelines.tokens import CheckpointRef, Int32, TokenBatch

OVERLAP_TYPE = 2
MOST_SPECIAL_TOKENS = 4


class WindowSettings(BaseModel):
    """How a context is cut; lengths in tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_seq_length: int = Field(128, ge=16, description="Question, context and special tokens together.")
    max_query_length: int = Field(32, ge=1, description="A longer question is cut.")
    max_answer_length: int = Field(30, ge=1, description="The longest answer.")
    doc_stride: int = Field(64, ge=1, description="Context tokens from one window's start to the next one's.")

    @model_validator(mode="after")
    def _an_answer_fits_a_window(self) -> Self:
        if self.max_seq_length < self.max_query_length + self.max_answer_length + MOST_SPECIAL_TOKENS:
            raise ValueError("max_seq_length has no room for the longest question and the longest answer together")
        return self

    def stride(self, room: int) -> int:
        """Context tokens between the starts of windows of `room` context tokens: `doc_stride`, or less where a
        window could otherwise miss an answer of `max_answer_length` tokens at its edge."""
        return min(self.doc_stride, room - self.max_answer_length + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of several (question, context) requests, in order.

    tokens     one item per window; its regions are the context's tokens
    request    (windows,) int32: which request the window belongs to
    first      (windows,) int32: row of `offsets` of the window's first context token
    offsets    (context tokens of all requests, 2) int32: half-open character spans in the request's context
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

    With `overlap_types` a context token that shares a character bigram with the question has type 2: a feature that
    lets small models without attention find the passage.
    """

    def __init__(self, tokenizer: Tokenizer, settings: WindowSettings, *, overlap_types: bool = False) -> None:
        self._tokenizer = tokenizer
        self._settings = settings
        self._overlap_types = overlap_types
        self._template = PairTemplate.of(tokenizer)

    def __call__(self, requests: Sequence[tuple[str, str]], checkpoint: CheckpointRef) -> Windows:
        """(question, context) pairs to their windows; a context without a token gives none."""
        texts = [Normalized.of(text) for request in requests for text in request]
        encodings = self._tokenizer.encode_batch([text.text for text in texts], add_special_tokens=False)
        pairs = list(zip(texts, encodings, strict=True))
        cuts = [self._cut(*question, *context) for question, context in zip(pairs[::2], pairs[1::2], strict=True)]
        return _join(cuts, checkpoint)

    def _cut(self, question: Normalized, asked: Encoding, context: Normalized, read: Encoding) -> "_Cut":
        query = asked.ids[: self._settings.max_query_length]
        room = self._settings.max_seq_length - len(query) - self._template.size
        offsets = np.array(read.offsets, dtype=np.int32).reshape(-1, 2)
        types = np.full(len(read.ids), self._template.context_type, dtype=np.uint8)
        if self._overlap_types:
            types[overlapping_tokens(question.text, context.text, offsets)] = OVERLAP_TYPE
        return _Cut(
            before=np.array([*self._template.head, *query, *self._template.middle], dtype=np.int32),
            context=np.array(read.ids, dtype=np.int32),
            context_types=types,
            after=np.array(self._template.tail, dtype=np.int32),
            starts=window_starts(len(read.ids), room, self._settings.stride(room)),
            room=room,
            offsets=context.to_original(offsets),
            outer_types=(self._template.question_type, self._template.context_type),
            question_cut=len(asked.ids) > len(query),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """One request: what stands before and after every stretch of its context, and where the stretches start."""

    before: Int32
    context: Int32
    context_types: NDArray[np.uint8]
    after: Int32
    starts: range
    room: int
    offsets: Int32
    outer_types: tuple[int, int]
    question_cut: bool

    def windows(self) -> list[tuple[Int32, NDArray[np.uint8], int]]:
        """(ids, types, number of context tokens) of each window."""
        before = np.full(len(self.before), self.outer_types[0], dtype=np.uint8)
        after = np.full(len(self.after), self.outer_types[1], dtype=np.uint8)
        stretches = [slice(start, start + self.room) for start in self.starts]
        return [
            (
                np.concatenate((self.before, self.context[stretch], self.after)),
                np.concatenate((before, self.context_types[stretch], after)),
                len(self.context[stretch]),
            )
            for stretch in stretches
        ]


def window_starts(tokens: int, room: int, stride: int) -> range:
    """Where windows of `room` tokens, `stride` apart, start so that they cover `tokens` of them."""
    if tokens == 0:
        return range(0)
    return range(0, max(tokens - room, 0) + stride, stride)


def _join(cuts: Sequence[_Cut], checkpoint: CheckpointRef) -> Windows:
    windows = [(i, cut, window) for i, cut in enumerate(cuts) for window in cut.windows()]
    ids = [window[0] for _, _, window in windows]
    regions = [(len(cut.before), len(cut.before) + window[2]) for _, cut, window in windows]
    bases = np.concatenate(([0], np.cumsum([len(cut.offsets) for cut in cuts]))).tolist()
    tokens = TokenBatch(
        checkpoint=checkpoint,
        ids=np.concatenate([*ids, np.empty(0, dtype=np.int32)]),
        types=np.concatenate([*(window[1] for _, _, window in windows), np.empty(0, dtype=np.uint8)]),
        lengths=np.array([len(row) for row in ids], dtype=np.int32),
        truncated=np.array([cut.question_cut for _, cut, _ in windows], dtype=np.bool_),
        regions=np.array(regions, dtype=np.int32).reshape(-1, 2),
    )
    first = [bases[i] + start for i, cut in enumerate(cuts) for start in cut.starts]
    return Windows(
        tokens=tokens,
        request=np.array([i for i, _, _ in windows], dtype=np.int32),
        first=np.array(first, dtype=np.int32),
        offsets=np.concatenate([*(cut.offsets for cut in cuts), np.empty((0, 2), dtype=np.int32)]),
    )
