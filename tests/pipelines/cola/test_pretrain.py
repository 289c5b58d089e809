import pytest

from pipelines.cola.pretrain import UNKNOWN, Marked, PretrainingRecipe, Source, token_labels
from tests.pipelines.cola.rows import good_sentences

SENTENCES = [sentence.split() for sentence in good_sentences()]


def _source(**changes: float) -> Source:
    recipe = PretrainingRecipe(batch_size=400, **changes)
    return Source(SENTENCES, [("Boys walk here.", "Boys walks here.")], recipe, seed=0)


def test_every_token_of_a_wrong_word_is_wrong() -> None:
    row = Marked(["The", "boyz"], [False, True], acceptable=False)
    assert token_labels(row, [None, 0, 1, 1, None]) == [UNKNOWN, 0, 1, 1, UNKNOWN]


def test_nobody_said_which_word_of_a_minimal_pair_is_wrong() -> None:
    assert token_labels(Marked(["Boys"], None, acceptable=True), [None, 0, None]) == [UNKNOWN] * 3


def test_a_sentence_is_acceptable_when_no_word_is_wrong() -> None:
    for row in _source(minimal_pairs=0.0).batch():
        assert row.wrong is not None
        assert row.acceptable == (not any(row.wrong))
        assert not row.acceptable or row.words in SENTENCES


def test_shares_are_kept() -> None:
    rows = _source(corrupted=0.5, minimal_pairs=0.2).batch()
    assert sum(row.wrong is None for row in rows) / 400 == pytest.approx(0.2, abs=0.06)
    marked = [row for row in rows if row.wrong is not None]
    assert sum(not row.acceptable for row in marked) / len(marked) == pytest.approx(0.5, abs=0.1)
