import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.chat.store.ngrams import POINT_BITS, grams_of


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


def test_particles_leave_the_noun_its_pairs() -> None:
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
