"""Vectors of word pieces as sums of what the pieces are spelt with, after fastText's of words.

Bojanowski et al. 2017, https://arxiv.org/abs/1607.04606. Rare pieces thereby share what frequent ones learn. Once
training ends the sums are as fixed as the vocabulary, and one table of them does.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipelines.wordpiece import CONTINUATION, SPECIAL_TOKENS

WORD_START = "<"
FIRST_SYLLABLE, SYLLABLES, VOWELS, FINALS = ord("가"), 11_172, 21, 28


class PieceVectors(nn.Module):
    """One learned vector per part; a piece's is the sum of its parts' vectors."""

    def __init__(self, pieces: Sequence[str], dimensions: int, deviation: float) -> None:
        super().__init__()
        parts = [list(parts_of(piece)) for piece in pieces]
        number = {part: index for index, part in enumerate(dict.fromkeys(part for own in parts for part in own))}
        self._lengths = torch.tensor([len(own) for own in parts])
        self._starts = self._lengths.cumsum(0) - self._lengths
        self._parts = torch.tensor([number[part] for own in parts for part in own])
        self.weight = nn.Parameter(torch.empty(len(number), dimensions))
        nn.init.normal_(self.weight, std=deviation)

    def forward(self, pieces: Tensor, dropout: float = 0.0) -> Tensor:
        """(pieces,) to (pieces, dimensions); of all pieces' parts a share is left out, the rest scaled up for it."""
        lengths = self._lengths[pieces]
        begins = lengths.cumsum(0) - lengths
        places = torch.repeat_interleave(self._starts[pieces] - begins, lengths) + torch.arange(int(lengths.sum()))
        shares = nn.functional.dropout(torch.ones(len(places)), dropout)
        return nn.functional.embedding_bag(
            self._parts[places], self.weight, begins, mode="sum", per_sample_weights=shares
        )

    def means(self, ids: Tensor, offsets: Tensor, dropout: float = 0.0) -> Tensor:
        """(sentences, dimensions): mean vector of each sentence's pieces, ids[offsets[i]:offsets[i + 1]]."""
        used, places = torch.unique(ids, return_inverse=True)
        return nn.functional.embedding_bag(places, self(used, dropout), offsets, mode="mean")

    @torch.no_grad()
    def table(self) -> Tensor:
        """(vocabulary, dimensions): every piece's vector."""
        return torch.as_tensor(self(torch.arange(len(self._lengths))))


def parts_of(piece: str) -> Iterator[str]:
    """The piece itself, its characters, pairs of neighbouring ones, and the halves of its Hangul syllables.

    A word's start counts as a character in pairs. The first word of a part says what kind it is of.
    """
    yield f"piece {piece}"
    if piece in SPECIAL_TOKENS:
        return
    body = piece.removeprefix(CONTINUATION)
    spelt = body if piece.startswith(CONTINUATION) else WORD_START + body
    yield from (f"character {character}" for character in body)
    yield from (f"pair {first}{second}" for first, second in pairwise(spelt))
    yield from (half for character in body for half in syllable_halves(character))


def syllable_halves(character: str) -> Iterator[str]:
    """A Hangul syllable without its final consonant, and without its vowel, so that 갔 has a half in common with 가
    and with 겄; nothing for other characters. The arithmetic is that of the Unicode Standard, section 3.12."""
    number = ord(character) - FIRST_SYLLABLE
    if 0 <= number < SYLLABLES:
        open_syllable, final = divmod(number, FINALS)
        yield f"open {open_syllable}"
        yield f"closed {open_syllable // VOWELS} {final}"
