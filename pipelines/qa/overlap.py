"""Which context tokens share a character bigram with the question, and how much that tells."""

import numpy as np
from numpy.typing import NDArray

from pipelines.text.token_batch import Int32

Bigrams = NDArray[np.uint64]


def bigrams(text: str) -> Bigrams:
    """(len(text) - 1,) each two neighbouring characters as one number; 0 where one is white space.

    ASCII case is folded.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    codes = np.where((codes >= ord("A")) & (codes <= ord("Z")), codes + np.uint32(32), codes)
    codes = np.where(np.isin(codes, _SPACES), np.uint32(0), codes)
    pairs = (codes[:-1].astype(np.uint64) << np.uint64(32)) | codes[1:]
    return np.where((codes[:-1] == 0) | (codes[1:] == 0), np.uint64(0), pairs)


def overlapping_tokens(question: Bigrams, context: Bigrams, offsets: Int32) -> NDArray[np.bool_]:
    """(tokens,) True where a token, `offsets` (tokens, 2) in characters of the context, covers part of a bigram that
    also stands in the question."""
    asked = np.sort(np.append(question, _BEHIND_ALL))
    shared = (asked[np.searchsorted(asked, context)] == context) & (context != 0)
    covered = np.zeros(len(context) + 2, dtype=np.int32)
    covered[1:-1] += shared  # a bigram's first character
    covered[2:] += shared  # and its second one
    counts = np.cumsum(covered)
    return np.asarray(counts[offsets[:, 1]] > counts[offsets[:, 0]])


def frequencies(context: Bigrams) -> NDArray[np.int64]:
    """How often the context holds each of its bigrams, in order: a text's own measure of what is rare in it."""
    _, inverse, counts = np.unique(context, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse])


def overlap_grades(
    question: Bigrams, context: Bigrams, frequency: NDArray[np.int64], offsets: Int32
) -> NDArray[np.uint8]:
    """(tokens,) 0 where `overlapping_tokens` is False, elsewhere 1 to GRADES, by the longest run that a token touches.

    A run is a stretch of the context whose bigrams all stand in the question. Its grade counts, from small to big,
    its length (2, 3, or more characters), whether a word begins with it, for at the ends of Korean words stand
    particles that say nothing, and whether one of its bigrams is rare, which is to stand in the context at most twice.
    """
    asked = np.sort(np.append(question, _BEHIND_ALL))
    shared = (asked[np.searchsorted(asked, context)] == context) & (context != 0)
    edges = np.diff(np.concatenate(([False], shared, [False])).astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not len(begins):
        return np.zeros(len(offsets), dtype=np.uint8)
    starts_word = (begins == 0) | (context[begins - 1] == 0)
    rare = np.minimum.reduceat(np.append(frequency, 0), np.stack((begins, ends), axis=1).ravel())[::2] <= RARE
    grades = np.minimum(ends - begins, LENGTHS) + LENGTHS * starts_word + 2 * LENGTHS * rare
    bigram = np.zeros(len(context) + 2, dtype=np.uint8)
    bigram[1:-1][shared] = np.repeat(grades, ends - begins)
    character = np.append(np.maximum(bigram[:-1], bigram[1:]), np.uint8(0))  # of the two bigrams that it stands in
    token = np.maximum.reduceat(character, offsets.ravel())[::2]
    return np.asarray(np.where(offsets[:, 1] > offsets[:, 0], token, np.uint8(0)))


LENGTHS = 3
GRADES = LENGTHS * 2 * 2
RARE = 2
_BEHIND_ALL = np.uint64(2**64 - 1)
_SPACES = np.array([ord(c) for c in " \t\n\r\v\f\u00a0\u3000"], dtype=np.uint32)
