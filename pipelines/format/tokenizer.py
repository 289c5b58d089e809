"""Tokenize texts into ragged arrays with the checkpoint's tokenizer; needs only the `tokenizers` library."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from tokenizers import Encoding, Tokenizer
from tokenizers.models import BPE, Unigram
from tokenizers.normalizers import NFC
from tokenizers.normalizers import Sequence as Steps

from pipelines.errors import CheckpointDamaged
from pipelines.format.manifest import KIND_SPECS, Manifest, Role
from pipelines.text.normalization import nfc
from pipelines.text.token_batch import Int32, TokenBatch

TOKENIZER = "tokenizer.json"
Value = TypeVar("Value", bound=Hashable)


@dataclass(frozen=True, slots=True, eq=False)
class SentencePairs:
    """Sentence pairs as tokens, without repeated items.

    tokens  bi-encoder: one item per distinct sentence; cross-encoder: one item per distinct pair
    rows    (pairs, 2) int32: the items of the two sentences; for a cross-encoder both are the item of the pair
    """

    tokens: TokenBatch
    rows: Int32

    @property
    def truncated(self) -> list[bool]:
        """Per pair, whether text was cut."""
        cut: list[bool] = np.any(self.tokens.truncated[self.rows], axis=1).tolist()
        return cut

    @property
    def lengths(self) -> list[int]:
        """Per pair, the tokens of its items."""
        lengths = self.tokens.lengths[self.rows]
        read = lengths.sum(axis=1) if self.tokens.checkpoint.kind == "bi-encoder" else lengths[:, 0]
        tokens: list[int] = read.tolist()
        return tokens


class TextTokenizer:
    """A checkpoint's tokenizer, which puts the checkpoint's prompt, if any, before each text.

    Prompt and text are normalized to NFC together, so decomposed Hangul gives the same tokens.
    """

    def __init__(self, tokenizer: Tokenizer, manifest: Manifest) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = manifest.split_special_tokens
        _drop_nfc(tokenizer)
        drop_sampling(tokenizer)
        self._tokenizer = tokenizer
        self._manifest = manifest
        self._ref = manifest.ref  # computed once, because it hashes the manifest

    @classmethod
    def load(cls, folder: Path, manifest: Manifest) -> Self:
        """Load the tokenizer in `folder`. Raises CheckpointDamaged if its file is missing or not a tokenizer."""
        path = folder / TOKENIZER
        try:
            return cls(Tokenizer.from_file(str(path)), manifest)
        except Exception as error:  # tokenizers raises bare Exception
            raise CheckpointDamaged(str(path), "not a tokenizer") from error

    @property
    def tokenizer(self) -> Tokenizer:
        """The wrapped tokenizer, without truncation and padding."""
        return self._tokenizer

    def passages(self, texts: Sequence[str], role: Role = "symmetric") -> TokenBatch:
        """One item per text, cut to the checkpoint's `max_tokens`; `role` selects the prompt before it."""
        prompt = self._manifest.prompts.of(role)
        return self._batch(self._encode([nfc(prompt + text) for text in texts]))

    def sentence_pairs(self, pairs: Sequence[tuple[str, str]]) -> SentencePairs:
        """Tokenize pairs for the checkpoint's kind of model; repeated sentences or pairs become one item."""
        if KIND_SPECS[self._manifest.kind].reads_pairs:
            both, numbers = _unique([(nfc(left), nfc(right)) for left, right in pairs])
            return SentencePairs(self._batch(self._encode(both)), np.stack((numbers, numbers), axis=1))
        prompt = self._manifest.prompts.symmetric
        texts, numbers = _unique([nfc(prompt + text) for pair in pairs for text in pair])
        return SentencePairs(self._batch(self._encode(texts)), numbers.reshape(-1, 2))

    def _encode(self, inputs: Sequence[str] | Sequence[tuple[str, str]]) -> list[Encoding]:
        if self._manifest.max_tokens is not None:
            self._tokenizer.enable_truncation(self._manifest.max_tokens, direction=self._manifest.truncation_side)
        return self._tokenizer.encode_batch_fast(list(inputs), add_special_tokens=self._manifest.special_tokens)

    def _batch(self, encodings: Sequence[Encoding]) -> TokenBatch:
        lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int32)
        ids = chain.from_iterable(encoding.ids for encoding in encodings)
        types = chain.from_iterable(encoding.type_ids for encoding in encodings)
        tokens = int(lengths.sum())
        return TokenBatch(
            checkpoint=self._ref,
            ids=np.fromiter(ids, dtype=np.int32, count=tokens),
            types=np.fromiter(types, dtype=np.uint8, count=tokens),
            lengths=lengths,
            truncated=np.array([bool(encoding.overflowing) for encoding in encodings], dtype=np.bool_),
        )


def _drop_nfc(tokenizer: Tokenizer) -> None:
    """Remove a leading NFC step: all text is already in NFC, and the step takes a sixth of the tokenizer's time.

    If an added token is not in NFC, the step stays, because without it the token would not be found in NFC text.
    """
    if any(nfc(added.content) != added.content for added in tokenizer.get_added_tokens_decoder().values()):
        return
    match tokenizer.normalizer:
        case NFC():
            tokenizer.normalizer = None
        case Steps() as steps if len(steps) and isinstance(steps[0], NFC):
            tokenizer.normalizer = Steps([steps[number] for number in range(1, len(steps))])


def drop_sampling(tokenizer: Tokenizer) -> None:
    """Turn off BPE dropout and the sampling of Unigram, which give a text other tokens each time, for training."""
    model = tokenizer.model
    if isinstance(model, BPE):
        model.dropout = None
    elif isinstance(model, Unigram):
        model.alpha = model.nbest_size = None


def _unique(values: Sequence[Value]) -> tuple[list[Value], Int32]:
    """The distinct values in order of appearance, and for each input its index among them."""
    numbers: dict[Value, int] = {}
    inverse = [numbers.setdefault(value, len(numbers)) for value in values]
    return list(numbers), np.array(inverse, dtype=np.int32)
