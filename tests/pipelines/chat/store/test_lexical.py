import math
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.chat.store.lexical import K1, POINT_BITS, B, LexicalIndex, grams_of


def pieces(text: str) -> list[str]:
    mask = (1 << POINT_BITS) - 1
    points = [(gram >> POINT_BITS, gram & mask) for gram in grams_of(text).tolist()]
    return sorted("".join(map(chr, filter(None, pair))) for pair in points)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("고양이는 잔다", ["고양", "양이", "이는", "잔다"]),
        ("책, 세 권!", ["권", "세", "책"]),
        ("Apple2", ["ap", "e2", "le", "pl", "pp"]),
        ("", []),
        (" \n.", []),
        ("𠮷野家", ["野家", "𠮷野"]),
        ("가\ud800나", ["가", "나"]),
    ],
)
def test_words_become_pairs_and_single_characters(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


def test_a_noun_with_a_particle_keeps_the_pairs_of_the_noun() -> None:
    assert set(pieces("고양이")) < set(pieces("고양이를"))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_composition_and_case_make_no_difference(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    assert pieces(unicodedata.normalize("NFD", text)) == pieces(text)
    assert pieces(text.casefold()) == pieces(text)


@given(st.text())
def test_every_letter_is_in_a_piece(text: str) -> None:
    folded = unicodedata.normalize("NFC", text.casefold())
    assert set("".join(pieces(text))) == {character for character in folded if character.isalnum()}


TEXTS = st.lists(st.text(st.sampled_from("가나다라 b"), max_size=20), min_size=1, max_size=12)


def bm25(texts: list[str], query: str) -> list[float]:
    """BM25 computed directly from its definition, one text and one pair at a time."""
    counts = [Counter(grams_of(text).tolist()) for text in texts]
    mean = max(1.0, sum(map(Counter.total, counts)) / len(texts))
    scores = [0.0] * len(texts)
    for gram in set(grams_of(query).tolist()):
        holding = sum(gram in count for count in counts)
        idf = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        for row, count in enumerate(counts):
            norm = 1 - B + B * count.total() / mean
            scores[row] += idf * count[gram] * (K1 + 1) / (count[gram] + K1 * norm) if gram in count else 0
    return scores


@given(texts=TEXTS, query=st.text(st.sampled_from("가나다라마 bB"), max_size=8))
def test_scores_are_bm25(texts: list[str], query: str) -> None:
    assert LexicalIndex.of(texts).scores(query, len(texts)) == pytest.approx(bm25(texts, query), rel=2e-3)


def test_a_word_is_found_with_another_particle() -> None:
    scores = LexicalIndex.of(["강아지가 뛴다", "고양이는 잔다", "비가 온다"]).scores("고양이를 봤어?", 3)
    assert np.flatnonzero(scores).tolist() == [1]


def test_texts_without_words_score_zero() -> None:
    index = LexicalIndex.of(["", "!"])
    assert index.scores("고양이", 2).tolist() == [0, 0]
    assert index.scores("", 2).tolist() == [0, 0]
