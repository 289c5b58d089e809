import pytest
import torch

from pipelines.sts.pieces import PieceVectors, parts_of, syllable_halves

PIECES = ["[PAD]", "[UNK]", "가", "##가", "가나", "##나다"]


@pytest.fixture
def vectors() -> PieceVectors:
    torch.manual_seed(0)
    return PieceVectors(PIECES, 8, 0.1)


def test_a_piece_is_spelt_with_characters_pairs_and_halves_of_syllables() -> None:
    own, *spelling = parts_of("간다")
    assert own == "piece 간다"
    assert {"character 간", "character 다", "pair <간", "pair 간다"} <= set(spelling)
    assert len(spelling) == 8  # and two halves each


def test_a_continuation_has_no_start_of_a_word() -> None:
    assert "pair <가" in set(parts_of("가나"))
    assert not any("<" in part for part in parts_of("##가나"))


def test_a_special_token_has_no_spelling() -> None:
    assert list(parts_of("[UNK]")) == ["piece [UNK]"]


@pytest.mark.parametrize(
    ("first", "second", "shared"), [("갔", "가", 1), ("갔", "갈", 1), ("갔", "겄", 1), ("갔", "나", 0)]
)
def test_halves_that_syllables_share(first: str, second: str, shared: int) -> None:
    assert len(set(syllable_halves(first)) & set(syllable_halves(second))) == shared


def test_other_characters_have_no_halves() -> None:
    assert [list(syllable_halves(character)) for character in "aㄱ가힣"][:2] == [[], []]
    assert len(list(syllable_halves("힣"))) == 2


def test_a_piece_vector_is_the_sum_of_its_parts(vectors: PieceVectors) -> None:
    number = {part: i for i, part in enumerate(dict.fromkeys(part for piece in PIECES for part in parts_of(piece)))}
    for piece, row in zip(PIECES, vectors.table(), strict=True):
        torch.testing.assert_close(row, vectors.weight[[number[part] for part in parts_of(piece)]].sum(dim=0))


def test_sentences_are_means_of_their_pieces(vectors: PieceVectors) -> None:
    means = vectors.means(torch.tensor([2, 5, 5, 4]), torch.tensor([0, 3]))
    table = vectors.table()
    torch.testing.assert_close(means, torch.stack([table[[2, 5, 5]].mean(dim=0), table[4]]))


def test_dropout_leaves_parts_out(vectors: PieceVectors) -> None:
    torch.manual_seed(0)
    pieces = torch.arange(len(PIECES))
    assert not torch.equal(vectors(pieces, dropout=0.5), vectors(pieces))
