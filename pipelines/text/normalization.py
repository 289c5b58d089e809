"""What texts may be, and Unicode NFC with the way back: tokenizers see composed text, answers are cut from the text
as it came.
"""

import unicodedata
from dataclasses import dataclass

import numpy as np
import regex

from pipelines.text.token_batch import Int32


def nfc(text: str) -> str:
    """`text` in Normalization Form C (Unicode Standard Annex 15), which is what vocabularies are written in."""
    return unicodedata.normalize("NFC", text)


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can say it: a lone half of a surrogate pair, as JSON and file names can hold, it can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True, eq=False)
class Normalized:
    """NFC text and, where that differs from the original, where each of its characters came from.

    starts, ends  (len(text),) int32: half-open span in the original; None where original and text are the same
    """

    text: str
    starts: Int32 | None = None
    ends: Int32 | None = None

    @classmethod
    def of(cls, original: str) -> "Normalized":
        """Composed cluster by cluster: composition never crosses a grapheme cluster's border (UAX 29)."""
        if unicodedata.is_normalized("NFC", original):
            return cls(original)
        clusters = regex.findall(r"\X", original)
        pieces = [nfc(cluster) for cluster in clusters]
        sizes = np.fromiter(map(len, clusters), dtype=np.int32, count=len(clusters))
        copies = np.fromiter(map(len, pieces), dtype=np.int32, count=len(pieces))
        ends = np.cumsum(sizes, dtype=np.int32)
        return cls("".join(pieces), np.repeat(ends - sizes, copies), np.repeat(ends, copies))

    def to_original(self, offsets: Int32) -> Int32:
        """(tokens, 2) half-open spans of `text`, as spans of the original text."""
        if self.starts is None or self.ends is None:
            return offsets
        empty = offsets[:, 0] >= offsets[:, 1]
        starts = self.starts[np.minimum(offsets[:, 0], len(self.starts) - 1)]
        ends = np.where(empty, starts, self.ends[np.maximum(offsets[:, 1] - 1, 0)])
        return np.stack((starts, ends), axis=1).astype(np.int32)
