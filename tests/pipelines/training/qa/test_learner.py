import asyncio
import math
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.errors import CheckpointUnsupported
from pipelines.format.windows import WindowSettings
from pipelines.qa.data import Example, all_examples, read_squad
from pipelines.qa.spans import Answer
from pipelines.training.base import Base
from pipelines.training.learner import unfold
from pipelines.training.qa.learner import QaLearner
from pipelines.training.settings import TrainingSettings
from pipelines.training.stage import Stage
from pipelines.training.trainer import Trainer
from tests.checkpoint_factory import bert_config, save_with_wordpiece
from tests.conftest import MakeCheckpoint
from tests.pipelines.qa.rows import town, write_squad

WINDOWS = WindowSettings()
MakeLearner = Callable[[str], QaLearner]


def towns(folder: Path, numbers: range, *, long: bool) -> list[Example]:
    articles = [town(number, long=long) for number in numbers]
    return all_examples(read_squad(write_squad(folder / "towns.json", articles)))


@pytest.fixture
def rows(tmp_path: Path) -> list[Example]:
    """Examples whose contexts have several windows; some have no answer."""
    return towns(tmp_path, range(8), long=True)


@pytest.fixture
def learner_of(checkpoint: MakeCheckpoint) -> MakeLearner:
    def load(kind: str) -> QaLearner:
        torch.set_num_threads(1)
        learner = QaLearner.load(Base.find(str(checkpoint(kind))), WINDOWS)
        learner.model.eval()
        return learner

    return load


@pytest.fixture
def learner(learner_of: MakeLearner) -> QaLearner:
    return learner_of("extractor")


def predict(learner: QaLearner, rows: list[Example]) -> list[Answer]:
    with torch.inference_mode():
        return [answer for answer, _ in learner.predict(rows)]


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("kind", ["extractor", "extractor-roberta"])
def test_answers_are_those_of_the_serving_code(
    learner_of: MakeLearner, kind: str, rows: list[Example], tmp_path: Path
) -> None:
    learner = learner_of(kind)
    learner.save(tmp_path / "saved")
    import_checkpoint(str(tmp_path / "saved"), tmp_path / "to", task="qa")
    served = asyncio.run(load_pipeline(tmp_path / "to", "qa")([(row.question, row.context) for row in rows]))
    ours = predict(learner, rows)
    assert max(answer.windows for answer in ours) > 2
    assert [(one.text, one.start, one.end, one.windows) for one in ours] == [
        (one.text, one.start, one.end, one.windows) for one in served
    ]
    for ours_of, theirs_of in ((lambda one: one.score, "score"), (lambda one: one.null_score, "null_score")):
        expected = [getattr(one, theirs_of) for one in served]
        np.testing.assert_allclose([ours_of(one) for one in ours], expected, atol=1e-3)


def test_the_loss_is_that_of_plain_transformers_over_the_context_tokens(learner: QaLearner, tmp_path: Path) -> None:
    """The example has one window. Tokens of the question are not candidates for the answer."""
    row = Example("", "Where is the museum?", "The museum is in Busan.", 17, 22)
    learner.save(tmp_path)
    encoded = AutoTokenizer.from_pretrained(tmp_path)(row.question, row.context, return_tensors="pt")
    read = torch.tensor([part == 1 for part in encoded.sequence_ids()])
    read[0] = True
    first, last = (encoded.char_to_token(0, at, sequence_index=1) for at in (row.start, row.end - 1))
    with torch.inference_mode():
        output = AutoModelForQuestionAnswering.from_pretrained(tmp_path)(**encoded)
        expected = [
            -(logits[0] - logits[0][read].logsumexp(0))[position]
            for logits, position in ((output.start_logits, first), (output.end_logits, last))
        ]
        ours = learner.loss(learner.model, learner.unfold([row]))
    assert ours.item() == pytest.approx(float(sum(expected)) / 2, abs=1e-4)


def test_rows_are_unfolded_to_all_windows_of_which_most_have_no_answer(learner: QaLearner, rows: list[Example]) -> None:
    features = unfold(learner, rows)
    assert len(features) == sum(answer.windows for answer in predict(learner, rows)) > 2 * len(rows)
    with_answer = [feature.start > 0 for feature in features]
    assert sum(row.answerable for row in rows) <= sum(with_answer) < len(features)
    assert all((feature.start > 0) == (feature.end > 0) for feature in features)


def test_the_loss_is_the_mean_over_the_windows_for_any_batch_size(learner: QaLearner, rows: list[Example]) -> None:
    features = learner.unfold(rows)
    with torch.inference_mode():
        whole = learner.measure(rows, learner.predict(rows))["loss"]
        assert learner.loss(learner.model, features).item() == pytest.approx(whole, abs=1e-4)
        alone = [learner.loss(learner.model, [feature]).item() for feature in features]
    assert np.mean(alone) == pytest.approx(whole, abs=1e-4)


def test_questions_have_the_same_answers_in_a_batch_and_alone(learner: QaLearner, rows: list[Example]) -> None:
    together, alone = predict(learner, rows), [predict(learner, [row])[0] for row in rows]
    assert [answer.text for answer in together] == [answer.text for answer in alone]


def test_the_loss_is_computed_through_the_model_it_is_given(learner: QaLearner, rows: list[Example]) -> None:
    class Wrapped(nn.Module):
        calls = 0

        def forward(self, **inputs: torch.Tensor) -> object:
            self.calls += 1
            return learner.model(**inputs)

    wrapped = Wrapped()
    learner.loss(wrapped, learner.unfold(rows[:2]))
    assert wrapped.calls == 1


def test_composed_and_decomposed_text_have_the_same_loss(learner: QaLearner) -> None:
    composed = Example("", "오늘?", "각 과제는 오늘 한글로 쓴다", 2, 4)
    context = unicodedata.normalize("NFD", composed.context)
    start = context.index(unicodedata.normalize("NFD", "과제"))
    decomposed = Example("", composed.question, context, start, start + len(unicodedata.normalize("NFD", "과제")))
    with torch.inference_mode():
        losses = [learner.loss(learner.model, learner.unfold([row])).item() for row in (composed, decomposed)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_a_context_without_tokens_gets_the_empty_answer(learner: QaLearner) -> None:
    blank = Example("", "who?", " ", 0, 0)
    assert learner.unfold([blank]) == []
    assert [answer.text for answer in predict(learner, [blank, blank])] == ["", ""]


def test_the_lowest_loss_is_the_best() -> None:
    keys = [QaLearner.sort_key({"f1": f1, "loss": loss}) for f1, loss in ((0.9, 0.5), (0.1, 0.4))]
    assert keys == sorted(keys)


def test_a_base_whose_input_is_shorter_than_the_windows_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "short"
    folder.mkdir()
    save_with_wordpiece(AutoModelForQuestionAnswering.from_config(bert_config(max_position_embeddings=100)), folder)
    QaLearner.load(Base.find(str(folder)), WindowSettings(max_seq_length=100))
    with pytest.raises(CheckpointUnsupported, match="reads 100 tokens, less than windows of 101"):
        QaLearner.load(Base.find(str(folder)), WindowSettings(max_seq_length=101))


@pytest.mark.parametrize("long", [False, True], ids=["one window", "several windows"])
def test_a_model_learns_to_answer_and_when_not_to_answer(
    checkpoint: MakeCheckpoint, tmp_path: Path, long: bool
) -> None:
    torch.set_num_threads(1)
    load = partial(QaLearner.load, Base.find(str(checkpoint("bare-encoder"))), WINDOWS)
    train, dev = (towns(tmp_path, numbers, long=long) for numbers in (range(24), range(24, 36)))
    settings = TrainingSettings(epochs=14, batch_size=8, learning_rate=3e-3)
    trainer = Trainer(load, [Stage.of(train)], dev, settings)
    figures = list(trainer.epochs())
    best = figures[trainer.history.best(QaLearner.sort_key)]
    assert figures[0]["exact_match"] < 0.5 < 0.8 < best["exact_match"]
    assert best["no_answer_accuracy"] > 0.8
    assert best["has_answer_f1"] > 0.8
    assert math.isfinite(best["threshold"])
    assert list(best)[-1] == "loss"
