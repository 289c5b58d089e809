import gc
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.checkpoints.quality import run as ask
from pipelines.engines.choice import EngineSettings
from pipelines.errors import CheckpointUnsupported
from pipelines.sts.data import ScoredPair
from pipelines.sts.metrics import f1_at
from pipelines.training.base import Base
from pipelines.training.learner import comparable
from pipelines.training.settings import TrainingSettings
from pipelines.training.stage import Stage
from pipelines.training.sts.embedding_learner import EmbeddingLearner
from pipelines.training.sts.learner import F1_STEP, PairLearner, StsSettings, sort_key
from pipelines.training.sts.recipe import RECIPE
from pipelines.training.trainer import Trainer, Worker
from tests.conftest import MakeCheckpoint
from tests.pipelines.sts.rows import KLUE_TRAIN

HEADS = list(RECIPE.heads)
ONE, OTHER = "각낱말한글", "로쓴다값없"
ROWS = [ScoredPair(*row) for row in KLUE_TRAIN]

Make = Callable[..., Any]


def of_one_kind_or_two(count: int, seed: int) -> list[ScoredPair]:
    """Pairs of words: alternately from different sets of letters (score 0) and from the same set (score 5)."""
    draw = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        kinds = (ONE, ONE if number % 2 else OTHER)
        first, second = ("".join(draw.choice(list(kind), 4)) for kind in kinds)
        pairs.append(ScoredPair(first, second, 5.0 * (number % 2)))
    return pairs


@pytest.fixture
def make(checkpoint: MakeCheckpoint) -> Make:
    """Makes a head on an encoder, in evaluation mode."""

    def make(head: str, kind: str = "bare-encoder", **settings: Any) -> Any:
        torch.manual_seed(0)
        learner = RECIPE.heads[head](Base.find(str(checkpoint(kind))), StsSettings(**settings))
        learner.model.eval()
        return learner

    torch.set_num_threads(1)
    return make


def predicted(learner: Any, rows: list[ScoredPair]) -> list[Any]:
    with torch.inference_mode():
        return list(learner.predict(rows))


def scores(predictions: list[Any]) -> list[float]:
    """The served scores: clipped predictions, or the cosines of embeddings."""
    if np.ndim(predictions[0]) == 0:
        return np.clip(predictions, 0, 5).tolist()
    return [float(first @ second) for first, second in predictions]


@pytest.mark.parametrize(
    ("head", "kind", "text", "backend"),
    [
        *product(HEADS, ["bare-encoder"], ["raw"], ["torch"]),
        *product(HEADS, ["extractor-roberta"], ["hangul"], ["torch"]),
        ("layers", "classifier-distilbert", "raw", "torch"),
        ("layers", "bare-encoder", "raw", "onnx"),  # tests of the engines compare the graphs of the other heads
    ],
)
def test_an_exported_model_gives_the_measured_scores_when_served(
    make: Make, request: pytest.FixtureRequest, tmp_path: Path, head: str, kind: str, text: str, backend: Any
) -> None:
    if backend == "torch":
        request.getfixturevalue("untraced")
    learner, folder = make(head, kind, text=text, max_tokens=24), tmp_path / "to"
    learner.save(tmp_path / "saved")
    import_checkpoint(str(tmp_path / "saved"), folder, task="sts")
    rows = [
        *ROWS,
        ScoredPair("The 박물관 is 2 blocks away!", "abc 오늘 과제는?", 1.0),
        ScoredPair("값 " * 300, "가", 0.0),
    ]
    results = ask(load_pipeline(folder, "sts", EngineSettings(device="cpu", backend=backend)), as_pairs(rows))
    assert [result.score for result in results] == pytest.approx(scores(predicted(learner, rows)), abs=1e-4)
    called = [result.similar for result in results]
    f1 = learner.measure(rows, predicted(learner, rows))["f1"]
    assert f1 == f1_at(np.array(called, dtype=float), [row.same for row in rows], 0.5)


def as_pairs(rows: list[ScoredPair]) -> list[tuple[str, str]]:
    return [(row.sentence1, row.sentence2) for row in rows]


@pytest.mark.parametrize("head", HEADS)
def test_every_head_learns_which_pairs_are_alike(make: Make, head: str) -> None:
    settings = TrainingSettings(epochs=4, batch_size=16, learning_rate=2e-3)
    load = partial(make, head, "bare-encoder")
    stages = [Stage.of(of_one_kind_or_two(240, 0))]
    trainer: Trainer[ScoredPair] = Trainer(load, stages, of_one_kind_or_two(60, 1), settings)
    figures = list(trainer.epochs())
    assert set(figures[-1]) == {"f1", "pearson", "spearman", "loss"}
    best = figures[trainer.history.best(trainer.learner.sort_key)]
    assert best["f1"] > 0.9
    assert best["pearson"] > 0.8
    assert best["loss"] < figures[0]["loss"]


@pytest.mark.parametrize("head", HEADS)
def test_the_training_loss_is_that_of_the_figures(make: Make, head: str) -> None:
    learner = make(head, ranking_weight=0)
    whole = learner.measure(ROWS, predicted(learner, ROWS))["loss"]
    with torch.inference_mode():
        assert learner.loss(learner.model, ROWS).item() == pytest.approx(whole, abs=1e-5)
    assert whole > 0


@pytest.mark.parametrize("head", HEADS)
def test_all_trained_weights_contribute_to_the_loss(make: Make, head: str) -> None:
    learner = make(head)
    learner.loss(learner.model, ROWS).backward()
    trained = {name: value for name, value in learner.model.named_parameters() if value.requires_grad}
    assert [
        name for name, value in trained.items() if value.grad is None
    ] == []  # otherwise workers would wait for its gradient


@pytest.mark.parametrize("head", HEADS)
def test_the_text_setting_decides_whether_other_characters_count(make: Make, head: str) -> None:
    rows = [ScoredPair("오늘 과제", "과제", 1.0), ScoredPair("오늘 ABC, 과제 12!", "과제.", 1.0)]
    for text, equal in (("raw", False), ("hangul", True)):
        one, other = predicted(make(head, text=text), rows)
        assert np.allclose(one, other, atol=1e-6) == equal


@pytest.mark.parametrize("head", HEADS)
def test_composed_and_decomposed_text_give_the_same_prediction(make: Make, head: str) -> None:
    rows = [ScoredPair("각", "가", 1.0), ScoredPair("\u1100\u1161\u11a8", "\u1100\u1161", 1.0)]
    for text in ("raw", "hangul"):
        one, other = predicted(make(head, text=text), rows)
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_long_inputs_are_cut(make: Make, head: str) -> None:
    learner = make(head, max_tokens=12)
    rows = [
        ScoredPair("가 나 다 라 마 바 사 아 자 차 카 타 파 " + end, "가 나 다 라 마 바 사 아 자", 1.0) for end in "가나"
    ]
    np.testing.assert_allclose(*predicted(learner, rows), atol=1e-6)


def test_correlations_are_those_of_the_evaluator_of_the_library(make: Make) -> None:
    learner = make("sentence-transformer")
    rows = [replace(row, score=number % 7 / 2) for number, row in enumerate(of_one_kind_or_two(60, 0))]
    figures = learner.measure(rows, predicted(learner, rows))
    first, second, truth = zip(*((row.sentence1, row.sentence2, row.score) for row in rows), strict=True)
    theirs = EmbeddingSimilarityEvaluator(list(first), list(second), list(truth), main_similarity="cosine")(
        learner.model
    )
    assert figures["pearson"] == pytest.approx(theirs["pearson_cosine"], abs=1e-6)
    assert figures["spearman"] == pytest.approx(theirs["spearman_cosine"], abs=1e-6)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("value", [0.0, math.nan])
def test_constant_predictions_have_correlation_0(make: Make, head: str, value: float) -> None:
    learner = make(head)
    one = np.full((2, 3), value) if head == "sentence-transformer" else value
    figures = learner.measure(ROWS, [one] * len(ROWS))
    assert (figures["f1"], figures["pearson"], figures["spearman"]) == (0.0, 0.0, 0.0)
    assert comparable(learner.sort_key(figures)) < (1.0,)


def test_static_embeddings_are_refused(checkpoint: MakeCheckpoint) -> None:
    with pytest.raises(CheckpointUnsupported, match="no encoder"):
        EmbeddingLearner.load(Base.find(str(checkpoint("static"))), StsSettings())


def test_the_encoder_below_the_two_layers_is_that_of_the_base(make: Make, checkpoint: MakeCheckpoint) -> None:
    learner = PairLearner.layers(Base.find(str(checkpoint("bare-encoder"))), StsSettings())
    other = make("classification")
    for name, value in learner.model.encoder.state_dict().items():
        assert torch.equal(value, other.model.bert.state_dict()[name])


def test_f1_decides_and_the_lower_loss_if_f1_is_nearly_equal() -> None:
    worse, near, better, best = (
        {"f1": f1, "loss": loss} for f1, loss in ((0.79, 0.1), (0.801, 0.05), (0.7995, 0.04), (0.82, 0.9))
    )
    keys = [sort_key(figures) for figures in (worse, near, better, best)]
    assert keys == sorted(keys)
    assert len(set(keys)) == 4


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 9)), min_size=2))
def test_the_order_is_transitive_and_deviates_from_f1_by_at_most_one_step(pairs: list[tuple[float, float]]) -> None:
    ordered = sorted(({"f1": f1, "loss": loss} for f1, loss in pairs), key=sort_key)
    assert all(one["f1"] <= other["f1"] + F1_STEP * (1 + 1e-9) for one, other in pairwise(ordered))
    assert all(one["f1"] <= ordered[-1]["f1"] + F1_STEP * (1 + 1e-9) for one in ordered)


def test_the_loss_of_wrongly_ordered_pairs_grows_with_the_ranking_weight(make: Make) -> None:
    losses = []
    for weight in (0.0, 0.1, 0.2):
        learner = make("sentence-transformer", ranking_weight=weight)
        with torch.inference_mode():
            losses.append(learner.loss(learner.model, ROWS).item())
    assert losses[0] < losses[1] < losses[2]
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)


def test_layers_of_a_sentence_transformer_can_be_removed(checkpoint: MakeCheckpoint) -> None:
    base = replace(Base.find(str(checkpoint("bare-encoder"))), layers=1, attention_dropout=0.25)
    encoder = EmbeddingLearner.load(base, StsSettings()).model[0].auto_model
    assert len(encoder.encoder.layer) == encoder.config.num_hidden_layers == 1
    assert encoder.encoder.layer[0].attention.self.dropout.p == 0.25


def test_two_workers_have_the_same_weights_and_figures(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    base = Base.find(str(checkpoint("bare-encoder")))
    torch.multiprocessing.spawn(_train_rank, args=(2, base, tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    for head in HEADS:
        first, second = (torch.load(tmp_path / f"{head}-{rank}.pt", weights_only=True) for rank in range(2))
        assert first["figures"] == second["figures"]
        torch.testing.assert_close(first["weights"], second["weights"], atol=0, rtol=0)


def _train_rank(rank: int, world: int, base: Base, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world)
    settings = TrainingSettings(epochs=2, batch_size=7)
    for head, load in RECIPE.heads.items():
        trainer: Trainer[ScoredPair] = Trainer(
            partial(load, base, StsSettings()), [Stage.of(ROWS)], ROWS, settings, Worker(rank, world)
        )
        figures = list(trainer.epochs())
        weights = trainer.learner.model.state_dict()
        torch.save({"figures": figures, "weights": weights}, folder / f"{head}-{rank}.pt")
    del trainer
    gc.collect()  # frees the users of the group first; otherwise destroying it can deadlock on the GIL
    dist.destroy_process_group()
