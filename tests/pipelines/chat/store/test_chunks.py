from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.chat.store.chunks import chunks_of, sentence_spans
from pipelines.chat.store.documents import Document

LETTERS = st.sampled_from(
    [*"가나다라ab3 \n\t.!?…。\"'”)#", "할머니", "다. ", "\n\n", "# ", "\u1112\u1161\u11ab", "👨‍👩‍👧", "\u200b", "\r\n"]
)
TEXTS = st.one_of(st.text(), st.lists(LETTERS).map("".join))


@given(text=TEXTS, limit=st.integers(1, 60))
def test_chunks_have_exact_offsets_and_bounded_length_and_lose_no_text(text: str, limit: int) -> None:
    covered = [False] * len(text)
    before = 0
    for chunk in chunks_of(Document("a", text), limit):
        assert chunk.text == text[chunk.start : chunk.end]
        assert 0 < len(chunk.text) <= limit
        assert chunk.text == chunk.text.strip()
        assert chunk.start >= before
        before = chunk.end
        covered[chunk.start : chunk.end] = [True] * len(chunk.text)
    assert all(seen or character.isspace() for seen, character in zip(covered, text, strict=True))


@given(text=TEXTS)
def test_sentences_are_in_order_and_lose_no_text(text: str) -> None:
    spans = list(sentence_spans(text))
    assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(text.split())
    assert all(left[1] <= right[0] for left, right in pairwise(spans))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("밥을 먹었다. 맛있었다!", ["밥을 먹었다.", "맛있었다!"]),
        ("키는 172.5cm이다. 크다.", ["키는 172.5cm이다.", "크다."]),
        ("“갈까?” 하고 물었다. 갔다.", ["“갈까?”", "하고 물었다.", "갔다."]),
        ("# 가족\n어머니는 약사다.", ["# 가족", "어머니는 약사다."]),
        ("끝이 없다\n\n다음 줄", ["끝이 없다", "다음 줄"]),
        (" \n ", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for start, end in sentence_spans(text)] == sentences


def test_a_long_run_of_punctuation_is_one_sentence_in_linear_time() -> None:
    assert list(sentence_spans("." * 300_000)) == [(0, 300_000)]  # takes minutes if matching starts at each character
    assert list(sentence_spans("끝" + "." * 300_000 + "x")) == [(0, 300_002)]


def test_a_chunk_size_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 0 characters"):
        texts_of("하나다.", 0)


def texts_of(text: str, limit: int) -> list[str]:
    return [chunk.text for chunk in chunks_of(Document("a", text), limit)]


def test_whole_sentences_stay_together_while_they_fit() -> None:
    assert texts_of("하나다. 둘이다. 셋이다.", 10) == ["하나다. 둘이다.", "셋이다."]


def test_a_heading_begins_a_chunk() -> None:
    assert texts_of("하나다.\n\n## 일\n둘이다.", 100) == ["하나다.", "## 일\n둘이다."]


def test_a_sentence_over_the_limit_is_cut_between_words() -> None:
    assert texts_of("가나다 라마바 사아자.", 8) == ["가나다 라마바", "사아자."]


def test_a_word_over_the_limit_is_cut_between_user_perceived_characters() -> None:
    family = "👨‍👩‍👧"  # five code points
    assert texts_of(family * 3, 12) == [family * 2, family]
