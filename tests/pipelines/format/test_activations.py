from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSequenceClassification, pipeline

from pipelines.errors import CheckpointUnsupported
from pipelines.format.activations import activation_of, declare_activation
from pipelines.format.manifest import Activation
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy, edit_json

SIGMOID, TANH = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.activation.Tanh"
IDENTITY = "torch.nn.modules.linear.Identity"
PAIR = ("오늘 과제", "The museum")
FUNCTIONS: dict[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "identity": lambda outputs: outputs,
    "tanh": torch.tanh,
}
OLD = "sbert_ce_default_activation_function"
SPELLINGS: list[tuple[dict[str, Any], Activation]] = [
    ({}, "sigmoid"),
    ({OLD: None}, "sigmoid"),
    *(({OLD: path}, name) for path, name in ((SIGMOID, "sigmoid"), (IDENTITY, "identity"), (TANH, "tanh"))),  # type: ignore[list-item]
    ({OLD: "torch.nn.Identity"}, "identity"),
    ({"sentence_transformers": {"activation_fn": SIGMOID, "version": "4.1.0"}}, "sigmoid"),
    ({"sentence_transformers": {"activation_fn": IDENTITY}}, "identity"),
    ({"sentence_transformers": {"activation_fn": "torch.nn.modules.Tanh"}}, "tanh"),
    ({"sentence_transformers": {"activation_fn": TANH}, OLD: IDENTITY}, "tanh"),
    ({"sentence_transformers": {"activation_fn": None}, OLD: IDENTITY}, "sigmoid"),
    ({"sentence_transformers": {"version": "4.1.0"}, OLD: IDENTITY}, "identity"),
    ({"sentence_transformers": {"version": "4.1.0"}, "problem_type": "regression"}, "sigmoid"),
]


@pytest.fixture
def plain(checkpoint: MakeCheckpoint, tmp_path: Path) -> Path:
    """A cross-encoder whose files don't say who trained it, and how."""
    folder = copy(checkpoint("cross-encoder"), tmp_path / "plain")
    edit_json(folder / "config.json", problem_type=None)
    return folder


@pytest.fixture
def library_file(checkpoint: MakeCheckpoint, tmp_path: Path) -> Path:
    """A cross-encoder with a sigmoid as sentence-transformers 6 saves it."""
    return copy(checkpoint("cross-encoder-sigmoid"), tmp_path / "library")


def predicted_by_library(folder: Path) -> float:
    return float(CrossEncoder(str(folder), device="cpu").predict([PAIR])[0])


def predicted_by_us(folder: Path) -> float:
    raw = CrossEncoder(str(folder), device="cpu").predict([PAIR], activation_fn=torch.nn.Identity())
    return float(FUNCTIONS[activation_of(folder)](torch.tensor(raw))[0])


@pytest.mark.parametrize(("config", "activation"), SPELLINGS)
def test_every_spelling_is_what_sentence_transformers_applies(
    plain: Path, config: dict[str, Any], activation: Activation
) -> None:
    edit_json(plain / "config.json", **config)
    assert activation_of(plain) == activation
    assert predicted_by_us(plain) == pytest.approx(predicted_by_library(plain), abs=1e-6)


@pytest.mark.parametrize(
    ("library", "config", "activation"),
    [
        ({"activation_fn": SIGMOID}, {OLD: IDENTITY}, "sigmoid"),
        ({"activation_fn": IDENTITY}, {"sentence_transformers": {"activation_fn": SIGMOID}}, "identity"),
        ({"activation_fn": "torch.nn.Tanh"}, {}, "tanh"),
        ({"activation_fn": None}, {OLD: IDENTITY}, "identity"),
        ({"activation_fn": None}, {"problem_type": "regression"}, "sigmoid"),
        ({"activation_fn": IDENTITY, "model_type": "SentenceTransformer"}, {}, "sigmoid"),
    ],
)
def test_the_file_of_sentence_transformers_6_goes_before_config_json(
    library_file: Path, library: dict[str, Any], config: dict[str, Any], activation: Activation
) -> None:
    edit_json(library_file / "config_sentence_transformers.json", **library)
    edit_json(library_file / "config.json", **{"problem_type": None, **config})
    assert activation_of(library_file) == activation
    assert predicted_by_us(library_file) == pytest.approx(predicted_by_library(library_file), abs=1e-6)


def test_without_a_list_of_modules_the_library_ignores_its_file(library_file: Path) -> None:
    edit_json(library_file / "config_sentence_transformers.json", activation_fn=IDENTITY)
    (library_file / "modules.json").unlink()
    edit_json(library_file / "config.json", problem_type=None)
    assert activation_of(library_file) == "sigmoid"
    assert predicted_by_us(library_file) == pytest.approx(predicted_by_library(library_file), abs=1e-6)


def test_a_regression_model_of_transformers_predicts_its_outputs(checkpoint: MakeCheckpoint) -> None:
    folder = checkpoint("cross-encoder")
    assert activation_of(folder) == "identity"
    theirs = pipeline("text-classification", model=str(folder), device="cpu")
    (answer,) = theirs([{"text": PAIR[0], "text_pair": PAIR[1]}])
    assert predicted_by_us(folder) == pytest.approx(answer["score"], abs=1e-6)


@pytest.mark.parametrize("path", ["torch.nn.modules.activation.ReLU", "mine.Sigmoid", "torch.nn.LogSigmoid", 3, ["a"]])
def test_another_function_is_refused_by_its_name(plain: Path, library_file: Path, path: Any) -> None:
    name = path.rpartition(".")[2] if isinstance(path, str) else "is"
    for changes in ({OLD: path}, {"sentence_transformers": {"activation_fn": path}}):
        edit_json(plain / "config.json", **changes)
        with pytest.raises(CheckpointUnsupported, match=rf"config\.json.*{name}"):
            activation_of(plain)
    edit_json(library_file / "config_sentence_transformers.json", activation_fn=path)
    with pytest.raises(CheckpointUnsupported, match=rf"config_sentence_transformers\.json.*{name}"):
        activation_of(library_file)


@pytest.mark.parametrize("activation", list(FUNCTIONS))
def test_a_declared_function_is_read_by_us_and_by_the_library(plain: Path, activation: Activation) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(plain)
    model.config.sentence_transformers = {"version": "4.1.0"}
    declare_activation(model.config, activation)
    model.save_pretrained(plain)
    assert model.config.sentence_transformers["version"] == "4.1.0"
    assert activation_of(plain) == activation
    assert predicted_by_us(plain) == pytest.approx(predicted_by_library(plain), abs=1e-6)
