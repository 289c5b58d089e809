"""Texts as numbers for their pairs of characters, which is how words are found in Korean.

Particles and endings stick to Korean words ("고양이는", "고양이를"), so whole words rarely match; overlapping pairs of
characters within words do, without a dictionary, and serve short queries and other scripts too.
"""

import sys
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipelines.text.normalization import nfc

POINT_BITS = 21  # of a Unicode code point

Grams = NDArray[np.uint64]


def grams_of(text: str) -> Grams:
    """(grams,): the overlapping pairs of letters and digits of every word, and words of a single character whole.

    Case and Unicode's composition make no difference. A pair is the number first << 21 | second, so no two share one.
    """
    points = np.frombuffer(nfc(text.casefold()).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    in_word = _alphanumeric()[points]
    follows = in_word[:-1] & in_word[1:]
    alone = in_word & ~np.append(follows, False) & ~np.insert(follows, 0, False)
    pairs = points[:-1][follows] << np.uint64(POINT_BITS) | points[1:][follows]
    return np.concatenate((pairs, points[alone]))


@cache
def _alphanumeric() -> NDArray[np.bool_]:
    """By code point, whether it is a letter or a digit."""
    return np.fromiter((chr(point).isalnum() for point in range(sys.maxunicode + 1)), np.bool_, sys.maxunicode + 1)
