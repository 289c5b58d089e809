"""Which context tokens share a character bigram with the question."""

import numpy as np
from numpy.typing import NDArray

from pipelines.tokens import Int32


def overlapping_tokens(question: str, context: str, offsets: Int32) -> NDArray[np.bool_]:
    """(tokens,) True where a token, `offsets` (tokens, 2) in characters of the context, covers part of a bigram that
    also stands in the question. ASCII case is folded; bigrams with white space do not count."""
    shared = np.isin(_bigrams(context), _bigrams(question)) & (_bigrams(context) != 0)
    covered = np.zeros(len(context) + 1, dtype=np.int32)
    covered[1 : len(context)] += shared  # a bigram's first character
    covered[2 : len(context) + 1] += shared  # and its second one
    counts = np.cumsum(covered)
    return np.asarray(counts[offsets[:, 1]] > counts[offsets[:, 0]])


def _bigrams(text: str) -> NDArray[np.uint64]:
    """(len(text) - 1,) each bigram as one number; 0 where it has white space."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    codes = np.where((codes >= ord("A")) & (codes <= ord("Z")), codes + np.uint64(32), codes)
    codes = np.where(np.isin(codes, _SPACES), np.uint64(0), codes)
    pairs = (codes[:-1] << np.uint64(32)) | codes[1:]
    return np.where((codes[:-1] == 0) | (codes[1:] == 0), np.uint64(0), pairs)


_SPACES = np.array([ord(c) for c in " \t\n\r\v\f\u00a0\u3000"], dtype=np.uint64)
