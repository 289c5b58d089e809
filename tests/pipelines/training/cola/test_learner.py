import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AlbertConfig, AlbertForSequenceClassification

from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.checkpoints.quality import run as ask
from pipelines.checkpoints.quality import score
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.cola.data import Judgement
from pipelines.training.base import Base
from pipelines.training.cola.learner import ColaLearner
from pipelines.training.learner import Figures
from pipelines.training.settings import TrainingSettings
from pipelines.training.stage import Stage
from pipelines.training.trainer import Trainer
from tests.checkpoint_factory import make_base, wordpiece
from tests.conftest import MakeCheckpoint
from tests.pipelines.cola.rows import good_sentences

ROWS = [Judgement(sentence, number % 3 > 0) for number, sentence in enumerate(good_sentences())]


@pytest.fixture
def learner(checkpoint: MakeCheckpoint) -> ColaLearner:
    torch.set_num_threads(1)
    learner = ColaLearner.load(Base.find(str(checkpoint("classifier"))), max_tokens=128)
    learner.model.eval()
    return learner


@pytest.mark.usefixtures("untraced")
def test_figures_are_those_of_the_serving_code(learner: ColaLearner, tmp_path: Path) -> None:
    with torch.inference_mode():
        figures = learner.measure(ROWS, learner.predict(ROWS))
    learner.save(tmp_path / "saved")
    manifest = import_checkpoint(str(tmp_path / "saved"), tmp_path / "to", task="cola")
    examples = TASKS["cola"].examples("rows", ROWS)
    served = score(load_pipeline(tmp_path / "to", "cola"), manifest, examples)
    assert figures["matthews"] == pytest.approx(served, abs=1e-9)
    assert figures["matthews"] != 0


def test_the_loss_is_the_mean_over_the_rows_for_any_batch_size(learner: ColaLearner) -> None:
    with torch.inference_mode():
        whole = learner.measure(ROWS, learner.predict(ROWS))["loss"]
        assert learner.loss(learner.model, ROWS).item() == pytest.approx(whole, abs=1e-5)
        halves = [learner.loss(learner.model, part).item() for part in (ROWS[:12], ROWS[12:])]
    assert np.mean(halves) == pytest.approx(whole, abs=1e-5)


def test_the_loss_is_computed_through_the_model_it_is_given(learner: ColaLearner) -> None:
    class Wrapped(nn.Module):
        calls = 0

        def forward(self, **inputs: torch.Tensor) -> object:
            self.calls += 1
            return learner.model(**inputs)

    wrapped = Wrapped()
    learner.loss(wrapped, ROWS[:2])
    assert wrapped.calls == 1


def test_composed_and_decomposed_text_give_the_same_prediction(learner: ColaLearner) -> None:
    with torch.inference_mode():
        one, other = learner.predict([Judgement("caf\u00e9", True), Judgement("cafe\u0301", True)])
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_long_inputs_are_cut(checkpoint: MakeCheckpoint) -> None:
    learner = ColaLearner.load(Base.find(str(checkpoint("classifier"))), max_tokens=10)
    learner.model.eval()
    with torch.inference_mode():
        one, other = learner.predict([Judgement(f"the cat is here and {end}", True) for end in ("there", "nowhere")])
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("most", [12, 10_000])
def test_inputs_are_cut_at_the_same_length_as_in_serving(checkpoint: MakeCheckpoint, tmp_path: Path, most: int) -> None:
    learner = ColaLearner.load(Base.find(str(checkpoint("classifier"))), max_tokens=most)
    learner.model.eval()
    rows = [*ROWS, Judgement("각낱말 " * 200, True)]
    with torch.inference_mode():
        logits = torch.from_numpy(np.stack(learner.predict(rows)))
    learner.save(tmp_path / "saved")
    import_checkpoint(str(tmp_path / "saved"), tmp_path / "to", task="cola")
    results = ask(load_pipeline(tmp_path / "to", "cola"), [row.sentence for row in rows])
    served = [result.probability for result in results]
    assert served == pytest.approx(torch.softmax(logits, dim=1)[:, 1].tolist(), abs=1e-5)
    assert results[-1].truncated


def test_the_matthews_correlation_decides_and_the_loss_if_it_is_equal() -> None:
    figures: list[Figures] = [{"matthews": 0.5, "loss": 0.6}, {"matthews": 0.5, "loss": 0.4}]
    figures.append({"matthews": 0.51, "loss": math.inf})
    keys = [ColaLearner.sort_key(one) for one in figures]
    assert keys == sorted(keys)


# A high learning rate without warm-up makes ALBERT collapse: it then predicts one class for every sentence. Its twelve
# layers share their weights, so a step changes all of them at once. Adam's first steps have the full length, but their
# direction depends on only a few batches. They drive the outputs to a region where the gradient vanishes.
TOO_FAST = TrainingSettings(epochs=4, batch_size=16, learning_rate=4e-3, warmup_ratio=0.0)
LETTERS = "abcdefghijklmnop"


def words(count: int, seed: int) -> list[Judgement]:
    """Words of seven letters. Three in ten contain a z, which makes them unacceptable."""
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        letters = list(draw.choice(list(LETTERS), 7))
        acceptable = bool(draw.random() < 0.7)
        if not acceptable:
            letters[draw.integers(7)] = "z"
        rows.append(Judgement(" ".join(letters), acceptable))
    return rows


@pytest.fixture
def albert(tmp_path: Path) -> Callable[[], ColaLearner]:
    torch.set_num_threads(1)
    tokenizer = wordpiece(make_base(tmp_path))
    config = AlbertConfig(
        vocab_size=len(tokenizer),
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=12,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=2,
    )
    return lambda: ColaLearner(AlbertForSequenceClassification(config), tokenizer, 32)


def last_epoch(albert: Callable[[], ColaLearner], settings: TrainingSettings) -> Figures:
    return list(Trainer(albert, [Stage.of(words(640, 0))], words(200, 1), settings).epochs())[-1]


@pytest.mark.slow
def test_albert_collapses_at_a_high_learning_rate_without_warm_up(albert: Callable[[], ColaLearner]) -> None:
    collapsed = last_epoch(albert, TOO_FAST.model_copy(update={"epochs": 2}))
    assert collapsed["matthews"] == 0.0
    assert collapsed["called_acceptable"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"warmup_ratio": 0.8}, {"learning_rate": 1e-3}], ids=str)
def test_warm_up_or_a_lower_learning_rate_prevents_the_collapse(
    albert: Callable[[], ColaLearner], changes: dict[str, float]
) -> None:
    assert last_epoch(albert, TOO_FAST.model_copy(update=changes))["matthews"] > 0.9
