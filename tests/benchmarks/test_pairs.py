import itertools

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.pairs import rotated, stream

WORDS = st.lists(st.text("가나다", min_size=1, max_size=3), min_size=1, max_size=6)


@given(WORDS, st.integers(0, 20))
def test_rotation_keeps_the_words(words: list[str], turn: int) -> None:
    assert sorted(rotated(" ".join(words), turn).split()) == sorted(words)


def test_the_second_pass_has_new_texts_in_the_same_order() -> None:
    pairs = [("가 나", "다 라"), ("마 바", "사 아")]
    seen = list(itertools.islice(stream(pairs, seed=0), 4))
    assert sorted(seen[:2]) == pairs
    assert [(rotated(left, 1), rotated(right, 1)) for left, right in seen[:2]] == seen[2:]
    assert len(set(seen)) == 4
