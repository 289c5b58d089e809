import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import CrossEncoder
from transformers import pipeline

from pipelines.checkpoints import in_process
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.engines.choice import EngineSettings
from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import Manifest
from tests.pipelines.checkpoints.damage import edit_json, refused

pytestmark = pytest.mark.usefixtures("untraced")

PASSAGES = ["The museum is in Busan.", "오늘 과제"]
PAIRS = [("오늘 과제", "The museum"), ("오늘 과제", "오늘 과제"), ("a", "회의")]
IDENTITY = {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}
TANH = {"sbert_ce_default_activation_function": "torch.nn.modules.activation.Tanh"}


@pytest.fixture
def labelled(source: Callable[[str], Path]) -> Callable[..., Path]:
    """Gives a classifier's folder whose config.json has these labels."""

    def make(*labels: str, **config: Any) -> Path:
        folder = source("classifier")
        edit_json(folder / "config.json", id2label=dict(enumerate(labels)), label2id=None, **config)
        return folder

    return make


@pytest.fixture
def undeclared(source: Callable[[str], Path]) -> Path:
    """A cross-encoder whose files say nothing of its activation function."""
    folder = source("cross-encoder")
    edit_json(folder / "config.json", problem_type=None)
    return folder


def ask(folder: Path, manifest: Manifest, items: list[Any]) -> list[Any]:
    model = in_process.load_model(folder, manifest, EngineSettings(backend="torch", dtype="float32", device="cpu"))
    return list(asyncio.run(in_process.pipeline_of(folder, manifest, model)(items)))


def theirs(folder: Path, label: str) -> list[float]:
    """The probabilities of a label in the pipeline of transformers."""
    answers = pipeline("text-classification", model=str(folder), device="cpu", top_k=None)(PASSAGES)
    return [next(row["score"] for row in rows if row["label"] == label) for rows in answers]


@pytest.mark.parametrize(
    ("labels", "positive"),
    [(("unacceptable", "acceptable"), 1), (("acceptable", "unacceptable"), 0), (("정문", "비문"), 0)],
)
def test_probabilities_are_those_of_the_label_that_means_acceptable(
    labelled: Callable[..., Path], destination: Path, labels: tuple[str, str], positive: int
) -> None:
    folder = labelled(*labels)
    manifest = import_checkpoint(str(folder), destination)
    assert manifest.positive_output == positive
    ours = [answer.probability for answer in ask(destination, manifest, PASSAGES)]
    np.testing.assert_allclose(ours, theirs(folder, labels[positive]), rtol=0, atol=1e-5)


def test_labels_that_mean_something_else_need_the_users_word(labelled: Callable[..., Path], destination: Path) -> None:
    folder = labelled("GOOD", "BAD")
    refused(folder, destination, CheckpointUnsupported, "0: GOOD, 1: BAD.*--positive-label")
    manifest = import_checkpoint(str(folder), destination, positive_label="good")
    ours = [answer.probability for answer in ask(destination, manifest, PASSAGES)]
    np.testing.assert_allclose(ours, theirs(folder, "GOOD"), rtol=0, atol=1e-5)
    copied = destination.with_name("copied")
    with pytest.raises(CheckpointUnsupported, match="another positive output"):
        import_checkpoint(str(destination), copied, positive_label="BAD")
    assert import_checkpoint(str(destination), copied, positive_label="0") == manifest


@pytest.mark.parametrize(
    ("problem_type", "match"),
    [
        ("multi_label_classification", "multi_label_classification.*0: a, 1: b"),
        ("regression", "regression.*0: a, 1: b"),
    ],
)
def test_two_outputs_that_are_not_two_classes_are_refused(
    labelled: Callable[..., Path], destination: Path, problem_type: str, match: str
) -> None:
    refused(labelled("a", "b", problem_type=problem_type), destination, CheckpointUnsupported, match)


def test_a_model_of_one_output_for_cola_is_refused_with_its_label(undeclared: Path, destination: Path) -> None:
    config = json.loads((undeclared / "config.json").read_text())
    only_count = {key: value for key, value in config.items() if key not in {"id2label", "label2id"}}
    (undeclared / "config.json").write_text(json.dumps({**only_count, "num_labels": 1}))
    with pytest.raises(CheckpointUnsupported, match=r"for sts, not for cola: it has 1 output \(labels: 0: LABEL_0\)"):
        import_checkpoint(str(undeclared), destination, task="cola")
    assert import_checkpoint(str(undeclared), destination).kind == "cross-encoder"


@pytest.mark.parametrize(
    ("config", "activation", "scale"),
    [({}, "sigmoid", (0.0, 1.0)), (IDENTITY, "identity", (0.0, 5.0)), (TANH, "tanh", (-1.0, 1.0))],
)
def test_scores_are_the_predictions_of_the_library_on_the_scale_from_0_to_5(
    undeclared: Path, destination: Path, config: dict[str, Any], activation: str, scale: tuple[float, float]
) -> None:
    edit_json(undeclared / "config.json", **config)
    manifest = import_checkpoint(str(undeclared), destination)
    assert (manifest.activation, manifest.scale, manifest.threshold) == (activation, scale, 3.0)
    answers = ask(destination, manifest, PAIRS)
    for folder in (undeclared, destination):
        predictions = CrossEncoder(str(folder), device="cpu").predict(PAIRS)
        expected = np.clip(5 * (predictions - scale[0]) / (scale[1] - scale[0]), 0, 5)
        np.testing.assert_allclose([answer.score for answer in answers], expected, rtol=0, atol=5e-5)
    assert [answer.similar for answer in answers] == [answer.score >= 3.0 for answer in answers]


def test_a_scale_of_logits_is_given_by_the_user_and_otherwise_assumed_aloud(
    undeclared: Path, destination: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipelines")
    edit_json(undeclared / "config.json", **IDENTITY)
    import_checkpoint(str(undeclared), destination)
    assert "from 0 to 5 become scores from 0 to 5; this scale is assumed" in caplog.text
    caplog.clear()
    scaled = destination.with_name("scaled")
    manifest = import_checkpoint(str(undeclared), scaled, scale=(-4.0, 4.0))
    assert "assumed" not in caplog.text
    logits = CrossEncoder(str(undeclared), device="cpu").predict(PAIRS)
    expected = np.clip((logits + 4) * 5 / 8, 0, 5)
    np.testing.assert_allclose([one.score for one in ask(scaled, manifest, PAIRS)], expected, rtol=0, atol=5e-5)
    with pytest.raises(CheckpointUnsupported, match="another scale"):
        import_checkpoint(str(scaled), destination.with_name("copied"), scale=(0.0, 5.0))


@pytest.mark.parametrize("scale", [(1.0, 0.0), (2.0, 2.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_scale_that_is_no_range_is_refused(undeclared: Path, destination: Path, scale: tuple[float, float]) -> None:
    with pytest.raises(CheckpointUnsupported, match="the lower one first"):
        import_checkpoint(str(undeclared), destination, scale=scale)


@pytest.mark.parametrize("kind", ["extractor", "bi-encoder"])
def test_arguments_for_another_kind_of_model_are_refused(
    source: Callable[[str], Path], undeclared: Path, destination: Path, kind: str
) -> None:
    with pytest.raises(CheckpointUnsupported, match="--positive-label is for classifiers, but this is a cross-encoder"):
        import_checkpoint(str(undeclared), destination, positive_label="1")
    undeclared.rename(undeclared.with_name("other"))
    with pytest.raises(CheckpointUnsupported, match=f"--scale is for cross-encoders, but this is a {kind}"):
        import_checkpoint(str(source(kind)), destination, scale=(0.0, 1.0))


def test_a_cross_encoder_of_several_modules_is_refused_by_their_names(
    source: Callable[[str], Path], destination: Path
) -> None:
    folder = source("bi-encoder")
    edit_json(folder / "config_sentence_transformers.json", model_type="CrossEncoder")
    refused(folder, destination, CheckpointUnsupported, "BertModel with the modules Transformer, Pooling, Normalize")
