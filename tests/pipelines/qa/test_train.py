import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.checkpoints.golden import check
from pipelines.checkpoints.in_process import load_model, load_pipeline
from pipelines.checkpoints.resolve import ROOT
from pipelines.engines.choice import EngineSettings
from pipelines.format.manifest import read_manifest, verify
from pipelines.format.windows import WindowSettings
from pipelines.measure.evaluate import evaluate_checkpoint
from pipelines.qa import train
from pipelines.qa.data import Example, all_examples, read_squad
from pipelines.qa.window_tokenizer import WindowTokenizer
from pipelines.training import command
from pipelines.training.command import parse
from pipelines.training.qa.recipe import RECIPE
from tests.checkpoint_factory import make_checkpoint
from tests.conftest import MakeCheckpoint
from tests.hub import serving
from tests.pipelines.qa.rows import article, as_row, town, write_korquad, write_squad
from tests.pipelines.training.test_on_ray import ENVIRONMENT

TOWNS = [town(number) for number in range(36)]
QUICK = ["--epochs", 12, "--batch-size", 8, "--learning-rate", 3e-3]
Main = Callable[..., int]


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    return write_squad(tmp_path / "squad.json", TOWNS)


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, fitted: list[dict[str, Any]]) -> Main:
    """The command, without Ray."""

    def main(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["train", *map(str, words)])
        return train.main()

    return main


def asked(source: Path, articles: slice) -> list[Example]:
    return all_examples(read_squad(source)[articles])


def served(folder: Path, examples: Sequence[Example]) -> list[str]:
    answers = asyncio.run(load_pipeline(folder, "qa")([(one.question, one.context) for one in examples]))
    return [answer.text for answer in answers]


def test_a_model_learns_when_not_to_answer_and_has_the_measured_scores_when_served(
    main: Main, checkpoint: MakeCheckpoint, squad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, base = tmp_path / "to", checkpoint("bare-encoder")
    data = ["--train", f"{squad}[:24]", "--dev", f"{squad}[24:]"]
    assert main(output, "--models", base, *QUICK, *data) == 0
    manifest = verify(output, "qa")
    dev = asked(squad, slice(24, None))
    answers = served(output, dev)
    measured = evaluate_checkpoint(output, str(write_squad(tmp_path / "dev.json", TOWNS[24:])), EngineSettings())
    assert {name: manifest.scores[name] for name in measured} == pytest.approx(measured, abs=1e-4)
    unanswered = [answer == "" for one, answer in zip(dev, answers, strict=True) if not one.answerable]
    assert manifest.scores["no_answer_accuracy"] == pytest.approx(sum(unanswered) / len(unanswered), abs=1e-4)
    assert manifest.scores["no_answer_accuracy"] > 0.5
    assert manifest.scores["has_answer_f1"] > 0.5
    assert manifest.threshold is not None
    assert "threshold" not in manifest.scores
    check(output, manifest, load_model(output, manifest, EngineSettings(device="cpu")))
    assert manifest.training is not None
    assert manifest.training.data == [f"{squad}[:24]"]
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "| epoch | exact_match | f1 | has_answer_exact_match |" in card
    assert (output / "results.md").read_text(encoding="utf-8").count("| epoch 12 |") == len(RECIPE.figures)
    assert capsys.readouterr().out.endswith(f"serve it with\nmake serve QA={output}\n")


def test_the_epoch_with_the_lowest_loss_is_exported_and_contexts_to_measure_on_are_not_trained_on(
    main: Main, checkpoint: MakeCheckpoint, squad: Path, tmp_path: Path, fitted: list[dict[str, Any]]
) -> None:
    data = ["--train", f"{squad}[:9]", "--dev", f"{squad}[8:20]"]
    assert main(tmp_path / "to", "--models", checkpoint("bare-encoder"), *QUICK, *data) == 0
    results = (tmp_path / "to" / "results.md").read_text(encoding="utf-8")
    losses = [float(cell) for cell in results.splitlines()[-1].split("|")[2:-1]]
    assert losses[-1] > min(losses)  # few rows are soon overfitted
    assert read_manifest(tmp_path / "to").scores["loss"] == pytest.approx(min(losses), abs=1e-3)
    assert (fitted[0]["stages"][0].sources[0].rows, fitted[0]["dev"]) == (
        asked(squad, slice(8)),
        asked(squad, slice(8, 20)),
    )


def test_without_files_the_first_articles_of_korquads_dev_file_are_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    korquad = write_korquad(tmp_path, [article(number) for number in range(102)])
    monkeypatch.setenv("MUNJANG_DATA", str(korquad))
    parser = argparse.ArgumentParser()
    train.TRAIN.add_options(parser)
    arguments = parser.parse_args(["to"])
    data = command.read_data(RECIPE, parser, arguments)
    assert [[int(row.id[1:]) for row in rows] for rows in (data.sources[0].rows, data.dev)] == [
        list(range(100)),
        [100, 101],
    ]


def test_the_default_settings() -> None:
    parser = argparse.ArgumentParser()
    train.TRAIN.add_options(parser)
    arguments = parser.parse_args(["to"])
    settings, windows = parse(parser, arguments, RECIPE.training), parse(parser, arguments, RECIPE.options)
    assert tuple(arguments.models) == ("beomi/kcbert-base",)
    assert (settings.epochs, settings.batch_size, settings.learning_rate) == (3, 32, 5e-5)
    assert (settings.schedule, settings.warmup_ratio) == ("constant", 0.1)
    assert windows.model_dump(include={"max_seq_length", "doc_stride"}) == {"max_seq_length": 128, "doc_stride": 64}
    assert "Windows of one step" in parser.format_help()


def test_the_windows_of_training_are_those_of_serving(
    main: Main, checkpoint: MakeCheckpoint, tmp_path: Path, squad: Path
) -> None:
    output, windows = tmp_path / "to", WindowSettings(max_seq_length=76, max_answer_length=20, doc_stride=16)
    words = [
        "--models",
        checkpoint("bare-encoder"),
        "--epochs",
        1,
        "--train",
        f"{squad}[:9]",
        "--dev",
        f"{squad}[9:12]",
    ]
    assert main(output, *words, "--max-seq-length", 76, "--max-answer-length", 20, "--doc-stride", 16) == 0
    manifest = verify(output, "qa")
    assert manifest.windows == windows
    context = " ".join(["박물관은 부산에 있다."] * 40)
    [answer] = asyncio.run(load_pipeline(output, "qa")([("박물관은 어디에 있나?", context)]))
    made = WindowTokenizer.load(output, manifest).windows([("박물관은 어디에 있나?", context)])
    assert answer.windows == len(made.tokens) > 3
    assert made.tokens.lengths.max() == 76


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train", "{bad}"], "BadRow: {bad}, data[1].paragraphs[0].qas[0].answers[0]: the answer of question "),
        (["--train", "nowhere.json"], "DataNotFound: nowhere.json: there is no such file"),
        (["--dev", "{good}[9:]"], "DataNotFound: {good}[9:]: holds no question"),
        (["--train", "{good}"], "DataNotFound: {good}: all of it is among what is measured on"),
        (["--models", "owner/nothing", "--dev", "{good}[1:]"], "CheckpointNotFound: owner/nothing: "),
    ],
)
def test_bad_data_and_models_are_refused_before_training_starts(
    main: Main,
    tmp_path: Path,
    fitted: list[dict[str, Any]],
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = [town(0), town(1)]
    bad[1]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 0
    paths = {name: write_squad(tmp_path / name, rows) for name, rows in (("bad", bad), ("good", [town(0), town(1)]))}
    named = {name: path.rename(path.with_suffix(".json")) for name, path in paths.items()}
    data = ["--dev", f"{named['good']}", *([] if "--train" in words else ["--train", f"{named['good']}[:1]"])]
    assert main(tmp_path / "to", *data, *(word.format(**named) for word in words)) == 1
    assert message.format(**named) in capsys.readouterr().err
    assert fitted == []
    assert not (tmp_path / "to").exists()


def test_windows_without_room_for_an_answer_end_the_program(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(tmp_path / "to", "--max-seq-length", 20)
    assert caught.value.code == 2
    assert "max_seq_length has no room" in capsys.readouterr().err


@pytest.mark.train
def test_a_model_and_data_from_the_hub_are_trained_on_ray_and_exported(tmp_path: Path) -> None:
    options = ["--models", "owner/bert", "--epochs", "1", "--num-workers", "2", "--storage", "storage"]
    options += ["--train", "owner/towns", "--dev", "owner/towns:default:validation"]
    with _hub(tmp_path) as environment:
        process = subprocess.run(
            [sys.executable, "-m", "pipelines.qa.train", "to", *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=480,
        )
    assert process.returncode == 0, process.stderr
    manifest = verify(tmp_path / "to", "qa")
    assert manifest.base_model == "owner/bert"
    assert manifest.threshold is not None
    lines = process.stdout.splitlines()
    assert [line for line in lines if "epoch 1 of 1: exact_match " in line]
    assert lines[-1] == "make serve QA=to"


@contextlib.contextmanager
def _hub(folder: Path) -> Iterator[dict[str, str]]:
    """Serve a model and a data set on a local hub; yield the environment of a command that uses it."""
    examples = asked(write_squad(folder / "squad.json", TOWNS), slice(None))
    (folder / "towns").mkdir()
    for split, rows in (("train", examples[:16]), ("validation", examples[16:24])):
        lines = [json.dumps(as_row(row)) for row in rows]
        (folder / "towns" / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with serving() as hub:
        hub.add("owner/bert", make_checkpoint("bare-encoder", folder / "bert"))
        hub.add("owner/towns", folder / "towns")
        yield {**os.environ, **hub.environment(folder / "home"), **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
