import random

import pytest

from pipelines.cola.corruption import Corrupter, Edited, dressed
from tests.pipelines.cola.rows import good_sentences

SENTENCES = [sentence.split() for sentence in good_sentences()]


@pytest.fixture(scope="module")
def corrupt() -> Corrupter:
    return Corrupter([*SENTENCES, ["They", "walk", "and", "walked", "while", "walking."]])


def test_words_are_marked_exactly_where_the_sentence_differs(corrupt: Corrupter) -> None:
    draw = random.Random(0)
    for _ in range(200):
        words = draw.choice(SENTENCES)
        edited = corrupt(words, draw)
        assert len(edited.words) == len(edited.changed)
        assert any(edited.changed) == (edited.words != words)


def test_the_original_is_left_alone(corrupt: Corrupter) -> None:
    words = ["The", "boy", "walks", "to", "the", "school."]
    corrupt(words, random.Random(0))
    assert words == ["The", "boy", "walks", "to", "the", "school."]


def test_the_same_draws_make_the_same_edits(corrupt: Corrupter) -> None:
    first, second = (corrupt(SENTENCES[0], random.Random(7)) for _ in range(2))
    assert first == second


def test_forms_are_known_inflections(corrupt: Corrupter) -> None:
    assert corrupt.forms("walks") == ["walk", "walked", "walking"]


def test_a_replacement_wears_the_old_words_capital_and_punctuation() -> None:
    assert dressed("are", like="Is") == "Are"
    assert dressed("walked", like='walks."') == 'walked."'


def test_a_gap_is_marked_behind_it() -> None:
    edited = Edited(["a", "b", "c"])
    edited.delete(1)
    assert (edited.words, edited.changed) == (["a", "c"], [False, True])


def test_swapped_words_are_both_marked() -> None:
    edited = Edited(["Birds", "sing", "here."])
    edited.swap(0, 1)
    assert (edited.words, edited.changed) == (["Sing", "birds", "here."], [True, True, False])
