from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipelines.checkpoints.manifest import Training
from pipelines.checkpoints.verify import verify
from pipelines.cola.data import ColaData, load
from pipelines.cola.from_scratch import Recipe, calibrate, export, fold_threshold, new_model, probabilities, train
from pipelines.cola.metrics import matthews
from pipelines.cola.pretrain import PretrainingRecipe
from tests.pipelines.cola.rows import good_sentences, write_cola, write_text

TINY = Recipe(
    vocab_size=300,
    hidden_size=32,
    dilations=(1,),
    dropout=0.0,
    finetuning_dropout=0.0,
    finetunings=2,
    pretraining=PretrainingRecipe(steps=10, batch_size=8, warmup_steps=2),
    epochs=30,
    batch_size=8,
    average_decay=0.9,
    learning_rate=3e-3,
    held_out_share=0.2,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data in which a sentence is bad when its last two words are swapped."""
    rows = [(sentence, True) for sentence in good_sentences()]
    for sentence in good_sentences():
        *first, last, end = sentence.removesuffix(".").split()
        rows.append((" ".join([*first, end, last]) + ".", False))
    return write_cola(write_text(tmp_path / "data"), rows[::2] + rows[1::4], rows[3::4])


@pytest.fixture
def data(folder: Path) -> ColaData:
    torch.set_num_threads(1)
    return load(folder, TINY.held_out_share, TINY.seed)


def test_training_learns_and_exports_a_checkpoint_that_verifies(folder: Path, data: ColaData, tmp_path: Path) -> None:
    tokenizer, model = train(folder, data, TINY)
    learned = probabilities(model, tokenizer, [row.sentence for row in data.train]) >= 0.5
    assert matthews(learned, [row.acceptable for row in data.train]) > 0.8
    calibrate(model, tokenizer, data.held_out)
    training = Training(data=["hand-made"], seed=0, command="none", minutes=0)
    manifest = export(tokenizer, model, tmp_path / "cola", training, data)
    assert verify(tmp_path / "cola", "cola") == manifest
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "cola").eval()
    sentences = [row.sentence for row in data.dev]
    again = probabilities(loaded, AutoTokenizer.from_pretrained(tmp_path / "cola"), sentences)
    np.testing.assert_array_equal(again, probabilities(model, tokenizer, sentences))


def test_the_same_seed_gives_the_same_weights(folder: Path, data: ColaData) -> None:
    (_, first), (_, second) = train(folder, data, TINY), train(folder, data, TINY)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@torch.no_grad()
def test_a_folded_threshold_becomes_one_half() -> None:
    model = new_model(TINY, 20).eval()
    ids = torch.tensor([[2, 7, 3]])
    before = model(input_ids=ids).logits.softmax(dim=1)[0, 1].item()
    fold_threshold(model, before)
    assert model(input_ids=ids).logits.softmax(dim=1)[0, 1].item() == pytest.approx(0.5, abs=1e-6)
