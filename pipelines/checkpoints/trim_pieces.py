"""Find the pieces of a vocabulary that given texts and scripts need.

A trimmed tokenizer splits a text as before if it keeps every piece that the text uses and, depending on its type:

Unigram    the piece with the lowest score, because it determines the cost of an unknown character; the best split of a
           word is then still available, and still the best
WordPiece  the pieces found in an unknown word before the search fails; without them a shorter piece could match instead
           and make the word known
BPE        the intermediate pieces that merge into each kept piece; a merge that was not used before is not used now
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import regex
from tokenizers import Encoding, Tokenizer, decoders, pre_tokenizers

from pipelines.checkpoints.trim_texts import Text
from pipelines.errors import CheckpointUnsupported

KINDS = ("Unigram", "WordPiece", "BPE")
WORD_START = "▁"
BYTE = regex.compile("<0x[0-9A-F]{2}>")
PORTION = 1000


class PieceFinder:
    """Finds the pieces of a tokenizer that texts and scripts need.

    `content` is the tokenizer's JSON, as the tokenizers library writes it. Raises CheckpointUnsupported, naming the
    type of the tokenizer's model, if tokenizers of this type can't be trimmed.
    """

    def __init__(self, where: str, content: Mapping[str, Any], tokenizer: Tokenizer) -> None:
        self._model: Mapping[str, Any] = content["model"]
        self._refuse(where)
        self._tokenizer = tokenizer
        self._pieces: dict[str, int] = tokenizer.get_vocab(with_added_tokens=False)
        self._byte_level = '"ByteLevel"' in Tokenizer.to_str(tokenizer).partition('"model"')[0]
        self._prefix: str = self._model.get("continuing_subword_prefix") or ""

    def _refuse(self, where: str) -> None:
        kind = self._model["type"]
        if kind not in KINDS:
            why = f"its tokenizer is of type {kind}; {', '.join(KINDS)} can be trimmed"
            raise CheckpointUnsupported(where, why)
        for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
            if kind == "BPE" and self._model.get(name):
                raise CheckpointUnsupported(where, f"its tokenizer is of type BPE with {name}, which can't be trimmed")

    def find(self, texts: Sequence[Text], scripts: Sequence[str]) -> set[str]:
        """The pieces that the texts use, all single characters of texts and scripts, and the pieces that these need."""
        kept = self._used(texts)
        added = {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}
        characters = {character for piece in kept - added for character in self._surface(piece)}
        kept |= set(self._single(characters, scripts))
        if self._model["type"] == "Unigram":
            kept.add(min(self._model["vocab"], key=lambda entry: entry[1])[0])
        if self._model["type"] == "BPE":
            kept |= self._built_from(kept - added)
        return kept & self._pieces.keys()

    def _used(self, texts: Sequence[Text]) -> set[str]:
        used = {self._model["unk_token"]} if self._model.get("unk_token") else set()
        for text, encoding in encode(self._tokenizer, [text.text for text in texts]):
            used.update(encoding.tokens)
            if self._model["type"] == "WordPiece":
                used.update(piece for word in self._unknown(text, encoding) for piece in self._beginning(word))
        return used

    def _unknown(self, text: str, encoding: Encoding) -> Iterator[str]:
        """The unknown words of the text, normalised."""
        normalizer = self._tokenizer.normalizer
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            if token == self._model["unk_token"]:
                yield text[start:end] if normalizer is None else normalizer.normalize_str(text[start:end])

    def _beginning(self, word: str) -> Iterator[str]:
        """The pieces that WordPiece finds in an unknown word, each the longest that fits, until no piece fits."""
        start = 0
        while start < len(word) <= self._model["max_input_chars_per_word"]:
            prefix = self._prefix if start else ""
            ends = (end for end in range(len(word), start, -1) if prefix + word[start:end] in self._pieces)
            end = next(ends, None)
            if end is None:
                return
            yield prefix + word[start:end]
            start = end

    def _single(self, characters: set[str], scripts: Sequence[str]) -> Iterator[str]:
        """Pieces of one wanted character, at the start of a word or inside it, pieces of only a marker, and bytes."""
        wanted = regex.compile("|".join(rf"\p{{Script={script}}}" for script in scripts) or "(?!)")
        alphabet = set(pre_tokenizers.ByteLevel.alphabet()) if self._byte_level else set()
        bytes_stay = self._model.get("byte_fallback")
        for piece in self._pieces:
            surface = self._surface(piece)
            wanted_here = len(surface) == 1 and (surface in characters or wanted.match(surface))
            if not surface or wanted_here or piece in alphabet or (bytes_stay and BYTE.fullmatch(piece)):
                yield piece

    def _surface(self, piece: str) -> str:
        """The text of a piece without the marker of a word's start or continuation."""
        if self._byte_level:
            text: str = decoders.ByteLevel().decode([piece])
            return text.removeprefix(" ")
        return piece.removeprefix(self._prefix).removeprefix(WORD_START)

    def _built_from(self, pieces: Iterable[str]) -> set[str]:
        ranks = {(left, right): rank for rank, (left, right) in enumerate(self._model["merges"])}
        return {part for piece in pieces for part in _merged(piece, ranks)}


def _merged(piece: str, ranks: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """Every intermediate piece when BPE merges the characters of `piece`, in the order of the merges' ranks."""
    parts = list(piece)
    yield from parts
    while pairs := [(ranks[pair], place) for place, pair in enumerate(pairwise(parts)) if pair in ranks]:
        _, place = min(pairs)
        parts[place : place + 2] = ["".join(parts[place : place + 2])]
        yield parts[place]


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[tuple[str, Encoding]]:
    """Each text with its encoding, including special tokens; encodes `PORTION` texts at a time to save memory."""
    for start in range(0, len(texts), PORTION):
        portion = texts[start : start + PORTION]
        yield from zip(portion, tokenizer.encode_batch(list(portion)), strict=True)


def script(name: str) -> str:
    """Return `name` if Unicode has a script of that name. Raises ValueError otherwise."""
    try:
        regex.compile(rf"\p{{Script={name}}}" if name.isidentifier() else "(")
    except regex.error as error:
        raise ValueError(f"Unicode has no script {name}") from error
    return name
