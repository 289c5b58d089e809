"""Which context tokens share a character bigram with the question."""

import numpy as np
from numpy.typing import NDArray

from pipelines.tokens import Int32

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


_BEHIND_ALL = np.uint64(2**64 - 1)
_SPACES = np.array([ord(c) for c in " \t\n\r\v\f\u00a0\u3000"], dtype=np.uint32)
