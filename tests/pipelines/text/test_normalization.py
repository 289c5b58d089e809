import sys
import unicodedata

import numpy as np
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.text.normalization import Normalized, nfc

# Characters that decompose, compose and form grapheme clusters in all possible ways.
TRICKY = [
    "각",
    "값",
    "ᄀ",
    "ᅡ",
    "ᆨ",
    "가",
    "é",
    "e",
    "\u0301",
    "\u0323",
    "\u00c5",
    "\u212b",
    "ﬁ",
    "𝅗𝅥",
    "\u0958",
    "\u0344",
]
TRICKY += ["👩\u200d👩\u200d👧", "\u200d", "🇰🇷", "\u09c7", "\u09be", "\r", "\n", "\u0000", " "]
tricky = st.sampled_from(TRICKY)
pieces = tricky | st.characters(exclude_categories=["Cs"])
texts = st.lists(pieces, max_size=12).map("".join) | st.lists(pieces, max_size=12).map(
    lambda chosen: unicodedata.normalize("NFD", "".join(chosen))
)


@given(texts)
def test_text_is_the_nfc_of_the_original(text: str) -> None:
    assert Normalized.of(text).text == nfc(text) == unicodedata.normalize("NFC", text)


def test_no_characters_compose_across_clusters() -> None:
    letters = [letter for letter in map(chr, range(sys.maxunicode + 1)) if unicodedata.decomposition(letter)]
    syllables = [chr(code) for code in range(ord("가"), ord("힣") + 1, 27)]
    decompositions = (unicodedata.normalize("NFD", letter) for letter in letters + syllables)
    wrong = [text for text in decompositions if Normalized.of(text).text != nfc(text)]
    assert wrong == []


@given(texts, st.data())
@example("가나", None)
def test_the_original_span_contains_the_text_of_the_normalized_span(text: str, data: st.DataObject | None) -> None:
    normalized = Normalized.of(text)
    length = len(normalized.text)
    start = data.draw(st.integers(0, length)) if data else 0
    end = data.draw(st.integers(start, length)) if data else length
    low, high = normalized.to_original(np.array([[start, end]], dtype=np.int32))[0].tolist()
    assert 0 <= low <= high <= len(text)
    assert normalized.text[start:end] in nfc(text[low:high])
    assert (start == end) == (low == high)


@given(texts.filter(lambda text: not unicodedata.is_normalized("NFC", text)))
def test_original_spans_end_on_cluster_borders(text: str) -> None:
    normalized = Normalized.of(text)
    every = np.array([[i, i + 1] for i in range(len(normalized.text))], dtype=np.int32)
    borders = {0, *(match.end() for match in regex.finditer(r"\X", text))}
    spans = normalized.to_original(every)
    assert spans.dtype == np.int32
    assert set(spans.ravel().tolist()) <= borders
    assert spans[0, 0] == 0
    assert spans[-1, 1] == len(text)
    assert (spans[1:] >= spans[:-1]).all()


@given(texts.map(nfc), st.data())
def test_spans_of_text_in_nfc_stay_the_same(text: str, data: st.DataObject) -> None:
    normalized = Normalized.of(text)
    ends = st.integers(0, len(text))
    offsets = np.array([sorted(data.draw(st.tuples(ends, ends)))], dtype=np.int32)
    assert normalized.text is text
    assert normalized.to_original(offsets).tolist() == offsets.tolist()


def test_decomposed_hangul_maps_syllable_by_syllable() -> None:
    original = unicodedata.normalize("NFD", "한글 값")
    spans = Normalized.of(original).to_original(np.array([[0, 1], [0, 2], [3, 4]], dtype=np.int32))
    assert [nfc(original[start:end]) for start, end in spans.tolist()] == ["한", "한글", "값"]
    assert spans.tolist() == [[0, 3], [0, 6], [7, 10]]
