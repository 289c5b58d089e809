import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.chat.store.lexical import K1, B, LexicalIndex
from pipelines.chat.store.ngrams import grams_of

TEXTS = st.lists(st.text(st.sampled_from("가나다라 b"), max_size=20), min_size=1, max_size=12)


def bm25(texts: list[str], query: str) -> list[float]:
    """By the book, one text and one pair at a time."""
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


def test_nothing_is_found_in_nothing() -> None:
    index = LexicalIndex.of(["", "!"])
    assert index.scores("고양이", 2).tolist() == [0, 0]
    assert index.scores("", 2).tolist() == [0, 0]
