from pathlib import Path

import pytest

from pipelines.cola.data import COLA_DEV, Judgement, read_cola, without
from tests.pipelines.cola.rows import write_cola

ROWS = [("Fine this is.", False), ("This is fine.", True)]


def test_labels_are_read(tmp_path: Path) -> None:
    cola = read_cola(write_cola(tmp_path, [], ROWS) / COLA_DEV)
    assert cola == [Judgement(sentence, acceptable) for sentence, acceptable in ROWS]


def test_sentences_that_are_measured_on_can_be_left_out() -> None:
    rows = [Judgement(*row) for row in ROWS]
    assert without(rows, {"This is fine.", "Another."}) == rows[:1]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="in_domain_dev"):
        read_cola(tmp_path / COLA_DEV)
