import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.checkpoints.in_process import load_pipeline
from pipelines.checkpoints.quality import score
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.errors import BadRow
from pipelines.format.manifest import verify
from pipelines.sts import data
from pipelines.sts import train as command
from pipelines.training.command import parse
from pipelines.training.sts.recipe import RECIPE
from tests.conftest import MakeCheckpoint
from tests.pipelines.sts.rows import KORSTS, KORSTS_TRAIN, PLACES, korsts_file, write_all

Main = Callable[..., int]
HEADS = list(RECIPE.heads)


MORE_THAN_TWO = [*KORSTS, *((f"{place}에 눈이 온다.", f"{place}에 비가 왔다.", 2.0) for place in PLACES)]
"""Rows whose correlation is not 1 or -1, whatever the scores are."""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The options for the data."""
    folder = write_all(tmp_path / "data")
    return ["--train", str(folder / data.KLUE_TRAIN), "--dev", str(folder / KORSTS_TRAIN)]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, fitted: list[dict[str, Any]], files: list[str]) -> Main:
    """The command on the data, without Ray."""

    def main(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["train", *files, *map(str, words)])
        return command.main()

    return main


def test_the_best_of_all_heads_is_exported_and_has_the_measured_score_when_served(
    main: Main, checkpoint: MakeCheckpoint, tmp_path: Path, fitted: list[dict[str, Any]], files: list[str]
) -> None:
    output, model = tmp_path / "to", checkpoint("bare-encoder")
    Path(files[3]).write_text(korsts_file(MORE_THAN_TWO), encoding="utf-8")
    words = ["--models", model, "--epochs", 2, "--batch-size", 8, "--text", "hangul", "--learning-rate", 1e-3]
    assert main(output, *words, "--score-column", "label|score") == 0
    assert [one["name"].rpartition("-")[0] for one in fitted] == [f"sts-{head}-bare-encoder-0" for head in HEADS]
    results = (output / "results.md").read_text(encoding="utf-8")
    assert [line for line in results.splitlines() if line.startswith("#")] == [
        f"# {title} on {files[3]}" for title in RECIPE.figures.values()
    ]
    assert all(results.count(f"| {model}, {head} |") == 3 for head in HEADS)
    manifest = verify(output, "sts")
    examples = TASKS["sts"].read(Path(files[3]))
    assert manifest.scores["pearson"] == pytest.approx(
        score(load_pipeline(output, "sts"), manifest, examples), abs=1e-3
    )
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "text hangul" in card
    assert any(f"head {head}," in card for head in HEADS)


def test_the_user_can_choose_heads(
    main: Main, checkpoint: MakeCheckpoint, tmp_path: Path, fitted: list[dict[str, Any]]
) -> None:
    words = ["--models", checkpoint("bare-encoder"), "--epochs", 1, "--score-column", "label|score"]
    assert main(tmp_path / "to", *words, "--heads", "sentence-transformer") == 0
    assert len(fitted) == 1
    assert verify(tmp_path / "to", "sts").kind == "bi-encoder"


def test_the_files_of_klue_are_read_with_the_default_columns(tmp_path: Path) -> None:
    folder, columns = write_all(tmp_path), [column.default for column in RECIPE.columns.values()]
    for path, read in ((data.KLUE_TRAIN, data.read_scored_pairs), (data.KLUE_DEV, data.read_klue)):
        assert RECIPE.read(str(folder / path), columns, "train") == read(folder / path)


def test_pairs_to_measure_on_are_not_trained_on_in_any_order_or_spelling() -> None:
    pair = data.ScoredPair("가 나", "다", 1.0)
    swapped, other = data.ScoredPair("다.", "가나", 2.0), data.ScoredPair("가 나", "라", 2.0)
    assert RECIPE.without_dev_rows([pair, swapped, other], [pair]) == [other]


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ("가,나,6", "score '6' is not from 0 to 5"),
        ("가,나,nan", "score 'nan' is not from 0 to 5"),
        ("가,나,viel", "score 'viel' is not a number"),
        ("가, ,1", "a sentence is blank"),
        ("가,나", r"has no column labels.real-label\|label\|score; it has sentence1, sentence2"),
    ],
)
def test_the_error_for_a_bad_row_names_its_file_and_line(cells: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"sentence1,sentence2,label\n가,나,1.5\n{cells}\n", encoding="utf-8")
    with pytest.raises(BadRow, match=f"rows.csv, line 3: {why}"):
        RECIPE.read(str(path), [column.default for column in RECIPE.columns.values()], "train")


def test_the_default_settings() -> None:
    parser = argparse.ArgumentParser()
    command.TRAIN.add_options(parser)
    arguments = parser.parse_args(["to"])
    assert len(arguments.models) == 3
    assert arguments.heads == HEADS
    assert parse(parser, arguments, RECIPE.options) == RECIPE.options(max_tokens=128, text="raw")
