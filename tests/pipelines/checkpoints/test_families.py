"""Every family of encoders passes the gate of `import`, which compares it with its own library, as the page says."""

from pathlib import Path

import pytest

from tests.pipelines.checkpoints.families import FAMILIES, TASKS, engine, outcome, rows_of_page

TRACED = ("electra", "deberta-v2", "modernbert", "convbert", "big_bird")
"""Families whose graphs are made here, too, which takes seconds. Tests of the engines trace BERT and RoBERTa."""


def test_the_page_has_a_row_for_every_family_and_at_least_thirty_work() -> None:
    rows = rows_of_page()
    assert rows.keys() == FAMILIES.keys()
    assert sum(row["cola"] in {"yes", "alone"} for row in rows.values()) >= 30


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_served_as_the_page_says(family: str, task: str, tmp_path: Path) -> None:
    assert outcome(family, task, tmp_path) == rows_of_page()[family][task]


@pytest.mark.slow
@pytest.mark.parametrize("family", TRACED)
def test_a_family_runs_on_the_engine_that_the_page_names(family: str, tmp_path: Path) -> None:
    assert outcome(family, "cola", tmp_path) == rows_of_page()[family]["cola"]
    assert engine(family, "cola", tmp_path) == rows_of_page()[family]["engine"]
