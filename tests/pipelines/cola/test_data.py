from pathlib import Path

import pytest

from pipelines.cola.data import COLA_DEV, Judgement, read_cola, without_sentences
from tests.pipelines.cola.rows import write_cola

ROWS = [("Fine this is.", False), ("This is fine.", True)]


def test_a_file_is_read_with_its_labels(tmp_path: Path) -> None:
    cola = read_cola(write_cola(tmp_path, [], ROWS) / COLA_DEV)
    assert cola == [Judgement(sentence, acceptable) for sentence, acceptable in ROWS]


def test_given_sentences_are_left_out() -> None:
    rows = [Judgement(*row) for row in ROWS]
    assert without_sentences(rows, {"This is fine.", "Another."}) == rows[:1]


def test_the_error_for_a_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="in_domain_dev"):
        read_cola(tmp_path / COLA_DEV)
