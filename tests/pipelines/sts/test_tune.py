import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from pipelines.checkpoints.resolve import ROOT
from pipelines.format.manifest import verify
from pipelines.sts import tune as command
from pipelines.training import tuning
from pipelines.training.command import parse
from pipelines.training.settings import SearchSettings, TuneSettings
from pipelines.training.sts.recipe import RECIPE
from tests.checkpoint_factory import make_checkpoint
from tests.pipelines.sts.rows import KLUE_TRAIN
from tests.pipelines.training.test_on_ray import ENVIRONMENT

TIMEOUT_S = 240


def write(path: Path, rows: Sequence[tuple[str, str, float]]) -> str:
    lines = ["\t".join(map(str, row)) for row in (("sentence1", "sentence2", "label"), *rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Options for a model and data whose dev rows have no paraphrase: F1 is always 0, so that the loss decides."""
    different = [row for row in KLUE_TRAIN if row[2] < 3]
    return [
        *("--models", str(make_checkpoint("bare-encoder", tmp_path / "bert"))),
        *("--train", write(tmp_path / "train.tsv", KLUE_TRAIN)),
        *("--dev", write(tmp_path / "dev.tsv", [(second, first, score) for first, second, score in different[:5]])),
        *("--batch-sizes", "8", "16", "--lowest-rate", "1e-4", "--storage", "storage", "--trials", "3"),
    ]


def start(folder: Path, options: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.sts.tune", "to", *options],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(lines: list[str], trial: int) -> list[str]:
    return [line.partition(": ")[2] for line in lines if line.startswith(f"trial {trial} of 3: ")]


def epochs(lines: list[str], trial: int) -> list[int]:
    return [int(found[1]) for line in lines_of(lines, trial) if (found := re.match(r"epoch (\d) of \d: f1 ", line))]


def test_a_model_that_can_not_be_trained_is_refused_before_the_first_trial(
    tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    static = make_checkpoint("static", tmp_path / "static")
    monkeypatch.setattr(sys, "argv", ["tune", str(tmp_path / "to"), *options, "--models", str(static)])
    monkeypatch.setattr(tuning, "cluster", lambda: pytest.fail("Ray was started"))
    assert command.main() == 1
    assert f"CheckpointDamaged: {static}: " in capsys.readouterr().err


@pytest.mark.train
@pytest.mark.faults
def test_a_killed_search_continues_and_repeats_no_finished_trial(tmp_path: Path, options: list[str]) -> None:
    killed = start(tmp_path, options)
    assert killed.stdout is not None
    before = []
    for line in killed.stdout:
        before.append(line.rstrip())
        if epochs(before, 2)[-1:] == [2]:
            os.kill(killed.pid, signal.SIGKILL)
    _, errors = killed.communicate(timeout=TIMEOUT_S)
    assert lines_of(before, 1)[-1].startswith("finished: "), errors
    assert not (tmp_path / "to").exists()

    ended = start(tmp_path, options)
    output, errors = ended.communicate(timeout=TIMEOUT_S)
    assert ended.returncode == 0, errors
    after = output.splitlines()
    assert lines_of(after, 1) == []
    assert epochs(after, 2)[:1] != [1]
    assert lines_of(after, 3)[-1].startswith("finished: ")
    reports = [path.read_text().splitlines() for path in (tmp_path / "storage").glob("sts-tune-*/trial-*/result.json")]
    assert len(reports) == 3
    for lines in reports:
        ran = [json.loads(line) for line in lines]
        assert len(ran[-1]["epochs"]) == ran[-1]["config"]["epochs"]

    manifest = verify(tmp_path / "to", "sts")
    table = (tmp_path / "to" / "trials.md").read_text(encoding="utf-8").splitlines()
    losses = [float(row.split(" | ")[-1].rstrip(" |")) for row in table if re.match(r"\| \d", row)]
    assert len(losses) == 3
    assert losses == sorted(losses)
    assert manifest.scores["loss"] == losses[0]
    assert manifest.training is not None
    assert manifest.training.command.startswith("python -m pipelines.sts.tune to --models ")
    with Image.open(tmp_path / "to" / "trials.png") as picture:
        assert picture.format == "PNG"


def test_the_default_search_space() -> None:
    parser = argparse.ArgumentParser()
    command.TUNE.add_options(parser)
    arguments = parser.parse_args(["to"])
    space = parse(parser, arguments, SearchSettings)
    assert (arguments.models, arguments.heads) == (RECIPE.models, ["classification"])
    assert tuple(arguments.batch_sizes) == (16, 32, 64)
    assert (space.most_epochs, space.lowest_rate, space.highest_rate) == (4, 1e-6, 1e-2)
    assert (space.lowest_decay, space.highest_decay) == (4e-5, 1e-3)
    assert parse(parser, arguments, TuneSettings).concurrent == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lowest-rate", "1e-2"], "--lowest-rate and --lowest-decay must be below the highest"),
        (["--batch-sizes", "16", "0"], "--batch-size: Input should be greater than or equal to 1"),
        (["--trials", "0"], "--trials: Input should be greater than or equal to 1"),
        (["--epochs", "3"], "unrecognized arguments: --epochs 3"),
    ],
)
def test_bad_search_options_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["tune", "to", *words])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
