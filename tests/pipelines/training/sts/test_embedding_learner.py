"""Training with a prompt, and centering; `test_learner.py` tests what all heads have in common."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense

from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.checkpoints.quality import run as ask
from pipelines.engines import onnx_export
from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import Prompts
from pipelines.sts.data import ScoredPair
from pipelines.training.base import Base
from pipelines.training.sts.embedding_learner import EmbeddingLearner
from pipelines.training.sts.learner import StsSettings
from tests.checkpoint_factory import SIZES
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy, edit_json

CONFIG = "config_sentence_transformers.json"
ROWS = [ScoredPair("오늘 과제", "과제", 4.0), ScoredPair("the museum " * 20, "회의", 1.0), ScoredPair("값", "가", 2.0)]
NAMED = {"mine": "회의: ", "query": "query: "}


@pytest.fixture
def base(checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bi-encoder that is not exported to ONNX: prompts are applied before the model."""

    def refuse(*_: object) -> Path:
        raise RuntimeError("not in this test")

    torch.set_num_threads(1)
    monkeypatch.setattr(onnx_export, "write_onnx", refuse)
    return copy(checkpoint("bi-encoder"), tmp_path / "base")


def load(base: Path, **settings: Any) -> Any:
    learner = EmbeddingLearner.load(Base.find(str(base)), StsSettings(max_tokens=24, **settings))
    learner.model.eval()
    return learner


def cosines(learner: EmbeddingLearner) -> list[float]:
    with torch.inference_mode():
        return [float(first @ second) for first, second in learner.predict(ROWS)]


@pytest.mark.parametrize(
    ("default", "setting", "expected"),
    [
        (None, "", Prompts(query="query: ")),
        ("mine", "", Prompts(symmetric="회의: ", query="query: ")),
        (None, "오늘: ", Prompts(symmetric="오늘: ", query="query: ")),
        ("mine", "오늘: ", Prompts(symmetric="오늘: ", query="query: ")),
    ],
)
def test_the_prompt_of_training_is_used_in_serving(
    base: Path, tmp_path: Path, default: str | None, setting: str, expected: Prompts
) -> None:
    edit_json(base / CONFIG, prompts=NAMED, default_prompt_name=default)
    learner = load(base, prompt=setting)
    learner.save(tmp_path / "saved")
    assert import_checkpoint(str(tmp_path / "saved"), tmp_path / "to", task="sts").prompts == expected
    results = ask(load_pipeline(tmp_path / "to", "sts"), [(row.sentence1, row.sentence2) for row in ROWS])
    assert [result.score for result in results] == pytest.approx(cosines(learner), abs=1e-4)


@pytest.mark.parametrize("setting", ["", "오늘: "])
def test_a_prompt_has_the_same_effect_as_in_the_library(base: Path, setting: str) -> None:
    learner = load(base, prompt=setting)
    with torch.inference_mode():
        embeddings = np.stack(learner.predict(ROWS))[:, 0]
    np.testing.assert_allclose(embeddings, learner.model.encode([row.sentence1 for row in ROWS]), atol=1e-5)


def test_the_prompt_changes_the_loss(base: Path) -> None:
    with torch.inference_mode():
        plain, prompted = (
            learner.loss(learner.model, ROWS).item() for learner in (load(base), load(base, prompt="오늘: "))
        )
    assert abs(plain - prompted) > 1e-4


def test_pooling_that_leaves_out_the_prompt_is_refused_before_training(base: Path) -> None:
    edit_json(base / "1_Pooling" / "config.json", include_prompt=False)
    load(base)
    with pytest.raises(CheckpointUnsupported, match="pooling excludes prompts"):
        load(base, prompt="오늘: ")


def mean_before_normalizing(model: SentenceTransformer, texts: list[str]) -> Any:
    return SentenceTransformer(modules=list(model)[:2], device="cpu").encode(texts).mean(axis=0)


@pytest.mark.parametrize("prompt", ["", "오늘: "])
def test_centred_embeddings_have_mean_zero_and_their_cosines_spread(base: Path, prompt: str) -> None:
    plain, centred = load(base, prompt=prompt), load(base, prompt=prompt, center=True)
    expected = len(list(centred.model.parameters()))
    for learner in (plain, centred):
        learner.prepare(ROWS)
    texts = [prompt + sentence for row in ROWS for sentence in (row.sentence1, row.sentence2)]
    before, after = (mean_before_normalizing(learner.model, texts) for learner in (plain, centred))
    assert np.linalg.norm(after) < 1e-3 * np.linalg.norm(before)
    assert np.ptp(cosines(centred)) > np.ptp(cosines(plain))
    assert len(list(centred.model.parameters())) == expected


def test_a_model_that_can_not_be_centred_is_refused(checkpoint: MakeCheckpoint, base: Path) -> None:
    with pytest.raises(CheckpointUnsupported, match="no encoder"):
        load(checkpoint("static"), center=True)
    learner = load(base, center=True)
    learner.model.insert(2, Dense(SIZES["hidden_size"], 4))
    with pytest.raises(CheckpointUnsupported, match="do not shift with the bias of its last layer norm"):
        learner.prepare(ROWS)
