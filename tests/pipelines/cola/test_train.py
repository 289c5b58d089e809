import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.checkpoints.in_process import load_pipeline
from pipelines.checkpoints.quality import score
from pipelines.checkpoints.resolve import ROOT
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.cola import train as command
from pipelines.format.manifest import read_manifest, verify
from pipelines.format.weights import stored_as
from pipelines.training.cola.recipe import RECIPE
from pipelines.training.command import parse
from pipelines.training.settings import TrainingSettings
from tests.checkpoint_factory import make_checkpoint
from tests.conftest import MakeCheckpoint
from tests.hub import commit_of, serving
from tests.pipelines.cola.rows import good_sentences, write_cola
from tests.pipelines.training.test_on_ray import ENVIRONMENT

SENTENCES = [(sentence, number % 3 > 0) for number, sentence in enumerate(good_sentences())]
Main = Callable[..., int]


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """The options for the data; two of the rows to train on are also among those to measure on."""
    folder = write_cola(tmp_path / "data", SENTENCES[:16], SENTENCES[14:])
    return ["--train", str(folder / "cola/in_domain_train.tsv"), "--dev", str(folder / "cola/in_domain_dev.tsv")]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, fitted: list[dict[str, Any]], data: list[str]) -> Main:
    """The command on the data, without Ray."""

    def main(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["train", *map(str, words), *data])
        return command.main()

    return main


def test_the_best_of_all_models_and_seeds_is_exported_and_has_the_measured_score_when_served(
    main: Main, checkpoint: MakeCheckpoint, tmp_path: Path, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    models = [checkpoint("classifier"), checkpoint("classifier-distilbert")]
    output = tmp_path / "to"
    words = ["--models", *models, "--seeds", 3, 5, "--epochs", 3, "--batch-size", 4, "--learning-rate", 1e-3]
    assert main(output, *words) == 0
    results = (output / "results.md").read_text(encoding="utf-8")
    head, _, *rows = results.splitlines()[2:]
    assert head == "| matthews | epoch 1 | epoch 2 | epoch 3 |"
    assert [row.split(" | ")[0] for row in rows] == [f"| {model}" for model in models]
    assert all(row.count("±") == 3 for row in rows)
    assert "\n".join([head, *rows]) in capsys.readouterr().out.replace("|---|---|---|---|\n", "")
    manifest = verify(output, "cola")
    examples = TASKS["cola"].read(Path(data[3]))
    served = score(load_pipeline(output, "cola"), manifest, examples)
    assert manifest.scores["matthews"] == pytest.approx(served, abs=1e-4)
    assert manifest.training is not None
    assert manifest.training.seed in (3, 5)
    assert manifest.training.data == [data[1]]
    assert manifest.training.command.startswith(f"python -m pipelines.cola.train {output} --models ")
    assert manifest.base_model in {model.name for model in models}
    card = (output / "README.md").read_text(encoding="utf-8")
    assert f"# {manifest.base_model}, fine-tuned for CoLA" in card
    assert "![Curves](curves.png)" in card
    assert (output / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_rows_to_measure_on_are_not_trained_on(
    main: Main, checkpoint: MakeCheckpoint, tmp_path: Path, fitted: list[dict[str, Any]]
) -> None:
    assert main(tmp_path / "to", "--models", checkpoint("classifier"), "--epochs", 1) == 0
    sets = [{row.sentence for row in rows} for rows in (fitted[0]["stages"][0].sources[0].rows, fitted[0]["dev"])]
    assert [len(rows) for rows in sets] == [14, 10]
    assert not sets[0] & sets[1]


def test_sources_form_stages_that_are_trained_in_order(
    main: Main, checkpoint: MakeCheckpoint, tmp_path: Path, fitted: list[dict[str, Any]], data: list[str]
) -> None:
    folder = write_cola(tmp_path / "more", SENTENCES[:6], SENTENCES[6:10])
    first, second = (str(folder / name) for name in ("cola/in_domain_train.tsv", "cola/in_domain_dev.tsv"))
    words = ["--train", first, second, "--train-weight", f"{first}=0.5", "--models", checkpoint("classifier")]
    assert main(tmp_path / "to", *words, "--epochs", 1, "--earlier-epochs", 2) == 0
    early, late = fitted[0]["stages"]
    assert [(len(source.rows), source.name, source.weight) for source in early.sources] == [
        (6, first, 0.5),
        (4, second, 1.0),
    ]
    assert [source.name for source in late.sources] == [data[1]]
    manifest = read_manifest(tmp_path / "to")
    assert manifest.training is not None
    assert manifest.training.data == [first, second, data[1]]
    results = (tmp_path / "to" / "results.md").read_text(encoding="utf-8")
    assert "epoch 3 |" in results
    assert "epoch 4 |" not in results


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("other.tsv=2", "names none of the sources"),
        ("{train}=0", "is no number above 0"),
        ("{train}=x", "is no number"),
    ],
)
def test_an_unknown_source_or_a_bad_weight_ends_the_program(
    main: Main, tmp_path: Path, data: list[str], given: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(tmp_path / "to", "--train-weight", given.format(train=data[1]))
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_the_exported_weights_have_the_type_of_the_command_line(
    main: Main, checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    words = ["--models", checkpoint("classifier"), "--epochs", 1, "--weights", "float16"]
    assert main(tmp_path / "to", *words) == 0
    assert stored_as(tmp_path / "to") == "float16"


def test_the_default_settings() -> None:
    parser = argparse.ArgumentParser()
    command.TRAIN.add_options(parser)
    arguments = parser.parse_args(["to"])
    settings = parse(parser, arguments, TrainingSettings)
    assert arguments.models == RECIPE.models
    assert len(RECIPE.models) == 5
    assert (settings.epochs, settings.batch_size, settings.learning_rate) == (4, 64, 5e-5)
    assert (settings.schedule, settings.warmup_ratio) == ("constant", 0.1)


def test_one_model_can_have_its_own_learning_rate(
    main: Main, checkpoint: MakeCheckpoint, tmp_path: Path, fitted: list[dict[str, Any]]
) -> None:
    models = [checkpoint("classifier"), checkpoint("classifier-distilbert")]
    own = ["--model-learning-rate", f"{models[1]}=1e-6"]
    assert main(tmp_path / "to", "--models", *models, "--epochs", 1, *own) == 0
    assert [one["settings"].learning_rate for one in fitted] == [5e-5, 1e-6]
    assert len({one["name"] for one in fitted}) == 2


def test_a_collapsed_model_is_reported_in_the_log(
    main: Main, checkpoint: MakeCheckpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["--models", checkpoint("classifier"), "--epochs", 1, "--learning-rate", 1, "--warmup-ratio", 0]
    assert main(tmp_path / "to", *words) == 0
    assert any("it has collapsed" in message and "--warmup-ratio" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--text-column", "9"], "BadRow: {train}, line 1: has no column 9"),
        (["--label-column", "4"], "BadRow: {train}, line 1: label "),
        (["--text-column", "sentence"], "BadRow: {train}, line 2: has no column sentence"),
        (["--models", "owner/nothing"], "CheckpointNotFound: owner/nothing: "),
    ],
)
def test_bad_data_and_models_are_refused_before_training_starts(
    main: Main,
    tmp_path: Path,
    fitted: list[dict[str, Any]],
    words: list[str],
    message: str,
    data: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(tmp_path / "to", *words) == 1
    errors = capsys.readouterr().err
    assert any(message.format(train=path) in errors for path in (data[1], data[3]))
    assert fitted == []
    assert not (tmp_path / "to").exists()


def test_a_model_that_can_not_be_trained_is_refused_before_the_first_is_trained(
    main: Main,
    checkpoint: MakeCheckpoint,
    tmp_path: Path,
    fitted: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(tmp_path / "to", "--models", checkpoint("classifier"), checkpoint("static")) == 1
    assert f"CheckpointDamaged: {checkpoint('static')}: " in capsys.readouterr().err
    assert fitted == []


def test_a_negative_seed_is_refused(main: Main, checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(tmp_path / "to", "--models", checkpoint("classifier"), "--seeds", 0, -1)
    assert caught.value.code == 2


def test_an_existing_output_is_not_overwritten(
    main: Main, tmp_path: Path, fitted: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tmp_path) == 1
    assert "exists already" in capsys.readouterr().err
    assert fitted == []


@pytest.mark.parametrize("given", ["owner/other=1e-5", "1e-5", "{model}=fast"])
def test_a_learning_rate_for_an_unknown_model_is_refused(
    main: Main, checkpoint: MakeCheckpoint, tmp_path: Path, given: str
) -> None:
    model = str(checkpoint("classifier"))
    with pytest.raises(SystemExit) as caught:
        main(tmp_path / "to", "--models", model, "--model-learning-rate", given.format(model=model))
    assert caught.value.code == 2


@pytest.mark.train
def test_a_model_and_data_from_the_hub_are_trained_on_ray_and_exported(tmp_path: Path) -> None:
    options = ["--models", "owner/bert@v1", "--epochs", "2", "--num-workers", "2", "--storage", "storage"]
    options += ["--train", "owner/judged", "--dev", "owner/judged:default:validation"]
    options += ["--text-column", "sentence", "--label-column", "label"]
    with _hub(tmp_path) as (environment, commit):
        process = subprocess.run(
            [sys.executable, "-m", "pipelines.cola.train", "to", *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=480,
        )
    assert process.returncode == 0, process.stderr
    manifest = read_manifest(tmp_path / "to")
    assert (manifest.base_model, manifest.revision) == ("owner/bert", commit)
    assert "model.onnx" in verify(tmp_path / "to", "cola").files
    lines = process.stdout.splitlines()
    assert [line for line in lines if "epoch 1 of 2: matthews " in line]
    assert lines[-1] == "make serve COLA=to"
    assert manifest.training is not None
    assert manifest.training.data == ["owner/judged"]
    assert json.loads((tmp_path / "to" / "config.json").read_text())["id2label"]["1"] == "acceptable"


@contextlib.contextmanager
def _hub(folder: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Serve a model and a data set on a local hub; yield the environment of a command, and the model's commit at v1."""
    model = make_checkpoint("bare-encoder", folder / "bert")
    judged = folder / "judged"
    judged.mkdir()
    for split, rows in (("train", SENTENCES[:16]), ("validation", SENTENCES[16:])):
        lines = [json.dumps({"sentence": sentence, "label": int(acceptable)}) for sentence, acceptable in rows]
        (judged / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with serving() as hub:
        hub.add("owner/bert", model, "v1")
        hub.add("owner/judged", judged)
        yield (
            {**os.environ, **hub.environment(folder / "home"), **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
            commit_of(model),
        )
