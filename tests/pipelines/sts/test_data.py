from pathlib import Path

import pytest

from pipelines.sts.data import KLUE_DEV, KLUE_TRAIN, ScoredPair, normal_form, read_scored_pairs
from tests.pipelines.sts import rows
from tests.pipelines.sts.rows import KORSTS_TRAIN, write_all


def test_each_file_format_is_read(tmp_path: Path) -> None:
    folder = write_all(tmp_path)
    for name, expected in ((KLUE_TRAIN, rows.KLUE_TRAIN), (KLUE_DEV, rows.KLUE_DEV), (KORSTS_TRAIN, rows.KORSTS)):
        assert read_scored_pairs(folder / name) == [ScoredPair(*row) for row in expected]


def test_pairs_with_a_score_of_3_or_more_are_paraphrases() -> None:
    assert ScoredPair("가", "나", 3.0).same
    assert not ScoredPair("가", "나", 2.99).same


def test_spellings_of_a_sentence_have_the_same_normal_form() -> None:
    assert normal_form("오늘 서울 날씨가 어때?") == normal_form(" 오늘서울 날씨가 어때 ")
    assert normal_form("A b.") == normal_form("a B")
    assert normal_form("비가 온다") != normal_form("비는 온다")


def test_the_error_for_a_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="klue-sts"):
        read_scored_pairs(tmp_path / KLUE_DEV)
