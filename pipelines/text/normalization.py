"""Unicode normalization (NFC) that keeps offsets.

Tokenizers see normalized text, but answers are cut from the original text, so offsets must be mapped back.
"""

import unicodedata
from dataclasses import dataclass

import numpy as np
import regex

from pipelines.text.token_batch import Int32


def nfc(text: str) -> str:
    """`text` in Normalization Form C (Unicode Standard Annex 15), the form that vocabularies use."""
    return unicodedata.normalize("NFC", text)


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can encode `text`. It can't encode a lone surrogate, which JSON and file names may contain."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True, eq=False)
class Normalized:
    """NFC text and, if it differs from the original, the original span of each of its characters.

    starts, ends  (len(text),) int32: half-open span in the original; None if the original is already in NFC
    """

    text: str
    starts: Int32 | None = None
    ends: Int32 | None = None

    @classmethod
    def of(cls, original: str) -> "Normalized":
        """Normalize cluster by cluster: composition never crosses the border of a grapheme cluster (UAX 29)."""
        if unicodedata.is_normalized("NFC", original):
            return cls(original)
        clusters = regex.findall(r"\X", original)
        pieces = [nfc(cluster) for cluster in clusters]
        sizes = np.fromiter(map(len, clusters), dtype=np.int32, count=len(clusters))
        copies = np.fromiter(map(len, pieces), dtype=np.int32, count=len(pieces))
        ends = np.cumsum(sizes, dtype=np.int32)
        return cls("".join(pieces), np.repeat(ends - sizes, copies), np.repeat(ends, copies))

    def to_original(self, offsets: Int32) -> Int32:
        """Map half-open spans of `text`, (tokens, 2), to spans of the original text."""
        if self.starts is None or self.ends is None:
            return offsets
        empty = offsets[:, 0] >= offsets[:, 1]
        starts = self.starts[np.minimum(offsets[:, 0], len(self.starts) - 1)]
        ends = np.where(empty, starts, self.ends[np.maximum(offsets[:, 1] - 1, 0)])
        return np.stack((starts, ends), axis=1).astype(np.int32)
