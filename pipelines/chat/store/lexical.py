"""Find rows by the words of a text, ranked by BM25 over pairs of characters.

Korean particles and endings are written together with their word ("고양이는", "고양이를"), so whole words rarely match.
Overlapping pairs of characters within words match without a dictionary, for short queries and in other scripts, too.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipelines.text.normalization import nfc

POINT_BITS = 21  # bits of a Unicode code point

Grams = NDArray[np.uint64]


def grams_of(text: str) -> Grams:
    """(grams,): the overlapping pairs of letters and digits of every word; of a word of one character, that character.

    Case and Unicode composition make no difference. A pair is the number first << 21 | second, so every pair has a
    number of its own.
    """
    points = np.frombuffer(nfc(text.casefold()).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    in_word = _alphanumeric()[points]
    follows = in_word[:-1] & in_word[1:]
    alone = in_word & ~np.append(follows, False) & ~np.insert(follows, 0, False)
    pairs = points[:-1][follows] << np.uint64(POINT_BITS) | points[1:][follows]
    return np.concatenate((pairs, points[alone]))


@cache
def _alphanumeric() -> NDArray[np.bool_]:
    """(code points,): whether each is a letter or a digit."""
    return np.fromiter((chr(point).isalnum() for point in range(sys.maxunicode + 1)), np.bool_, sys.maxunicode + 1)


K1, B = 1.2, 0.75

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LexicalIndex:
    """For each pair of characters, the rows that contain it and its contribution to their BM25 scores.

    The contribution of a pair to a row does not depend on the query. It is computed when the index is made, and a
    search only adds contributions (Lu 2024, https://arxiv.org/abs/2407.03618). BM25 follows Robertson and Zaragoza 2009
    (https://doi.org/10.1561/1500000019), with the variant of the inverse document frequency that is never negative.

    grams    (grams,) uint64, ascending
    starts   (grams + 1,) int64: the postings of gram g are [starts[g], starts[g + 1])
    rows     (postings,) int32, ascending within a gram
    weights  (postings,) float16, contributions: half the memory of float32, rounded by less than a thousandth
    """

    grams: Grams
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    weights: NDArray[np.float16]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """Make the index of texts; text i is row i."""
        counted = [np.unique(grams_of(text), return_counts=True) for text in texts]
        sizes = np.array([len(grams) for grams, _ in counted], dtype=np.int64)
        lengths = np.array([counts.sum() for _, counts in counted], dtype=np.float32)
        unsorted = np.concatenate([np.empty(0, np.uint64), *(grams for grams, _ in counted)])
        order = np.argsort(unsorted, kind="stable")
        grams, first = np.unique(unsorted[order], return_index=True)
        rows = np.repeat(np.arange(len(texts), dtype=np.int32), sizes)[order]
        counts = np.concatenate([np.empty(0, np.int64), *(counts for _, counts in counted)])[order]
        starts = np.append(first, len(rows)).astype(np.int64)
        return cls(grams, starts, rows, _bm25(starts, counts.astype(np.float32), rows, lengths))

    def scores(self, text: str, rows: int) -> Float32:
        """(rows,): BM25 of each row for the distinct pairs of the text; 0 where a row contains none of them."""
        scores = np.zeros(rows, dtype=np.float32)
        for start, end in self._postings(np.unique(grams_of(text))):
            scores[self.rows[start:end]] += self.weights[start:end]
        return scores

    def _postings(self, wanted: Grams) -> list[tuple[int, int]]:
        """[start, end) of the postings of each wanted gram that is in the index."""
        places = np.searchsorted(self.grams, wanted)
        inside = places < len(self.grams)
        places, wanted = places[inside], wanted[inside]
        known = places[self.grams[places] == wanted]
        return list(zip(self.starts[known].tolist(), self.starts[known + 1].tolist(), strict=True))


def _bm25(starts: NDArray[np.int64], counts: Float32, rows: NDArray[np.int32], lengths: Float32) -> NDArray[np.float16]:
    """(postings,): the contribution of each posting to its row's BM25."""
    document_frequency = np.diff(starts)
    idf = np.log1p((len(lengths) - document_frequency + 0.5) / (document_frequency + 0.5)).astype(np.float32)
    relative = lengths / max(1.0, float(lengths.mean())) if len(lengths) else lengths
    saturated = counts * (K1 + 1) / (counts + K1 * (1 - B + B * relative[rows]))
    return (np.repeat(idf, document_frequency) * saturated).astype(np.float16)
