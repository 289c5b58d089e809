from pathlib import Path

import pytest

from pipelines.qa.data import KORQUAD, load, read_squad
from tests.pipelines.qa.rows import COLOURS, article, write_korquad


def test_answers_are_stretches_of_their_context(tmp_path: Path) -> None:
    articles = read_squad(write_korquad(tmp_path, [article(0), article(1)]) / KORQUAD)
    assert [[example.answer for example in examples] for examples in articles] == [[COLOURS[0]], [COLOURS[1]]]


def test_train_and_test_share_no_article(tmp_path: Path) -> None:
    train, test = load(write_korquad(tmp_path, [article(number) for number in range(6)]), train_articles=4)
    assert [example.id for example in train] == ["q0", "q1", "q2", "q3"]
    assert [example.id for example in test] == ["q4", "q5"]
    assert not {example.context for example in train} & {example.context for example in test}


def test_an_answer_that_stands_elsewhere_is_refused(tmp_path: Path) -> None:
    wrong = article(0)
    wrong["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] += 1
    with pytest.raises(ValueError, match="q0"):
        load(write_korquad(tmp_path, [wrong]))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"KorQuAD_v1\.0_dev.*MUNJANG_DATA"):
        load(tmp_path)
