"""Trains the shipped CoLA classifier from scratch: warm-up on corrupted text, then CoLA.

python -m pipelines.cola.from_scratch --data ../shared/data --output checkpoints/cola --seed 0
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import trange
from transformers import PreTrainedTokenizerFast

from pipelines.checkpoints.finish import finish
from pipelines.checkpoints.manifest import Manifest, Training
from pipelines.checkpoints.quality import Examples
from pipelines.cola.data import ColaData, Judgement, load, read_minimal_pairs, read_sentences
from pipelines.cola.floor import ngram_probabilities
from pipelines.cola.metrics import even_threshold, matthews
from pipelines.cola.pretrain import PretrainingRecipe, Source, pretrain
from pipelines.gated_conv import GatedConvConfig, GatedConvForSequenceClassification
from pipelines.training import from_scratch
from pipelines.wordpiece import train_wordpiece

SERVED_THRESHOLD = 0.5
TRAINED_ON = ["CoLA in-domain train", "BLiMP", "ELTeC-eng", "US speeches", "MASC", "WikiText-2", "SQuAD", "SQuADShifts"]
REPEATED_TRAIN = 3
"""How often CoLA's own acceptable sentences stand among those of the warm-up: they are short, as CoLA's are."""


@dataclass(frozen=True)
class Recipe:
    """Every choice of a training run; the defaults made the shipped checkpoint."""

    vocab_size: int = 8192
    hidden_size: int = 256
    dilations: tuple[int, ...] = (1, 1, 1)
    dropout: float = 0.1
    max_tokens: int = 128
    pretraining: PretrainingRecipe = field(default_factory=PretrainingRecipe)
    epochs: int = 6
    batch_size: int = 32
    learning_rate: float = 1e-3
    finetuning_dropout: float = 0.5
    finetunings: int = 4
    average_decay: float = 0.995
    held_out_share: float = 0.1
    seed: int = 0


def train(
    folder: Path, data: ColaData, recipe: Recipe
) -> tuple[PreTrainedTokenizerFast, GatedConvForSequenceClassification]:
    """A vocabulary made from the warm-up's text and CoLA's train rows, and the model, not yet calibrated."""
    torch.manual_seed(recipe.seed)
    sentences = read_sentences(folder, recipe.seed)
    texts = [*map(" ".join, sentences), *(row.sentence for row in data.train)]
    tokenizer = train_wordpiece(texts, recipe.vocab_size, recipe.max_tokens)
    accepted = [row.sentence.split() for row in data.train if row.acceptable and " " in row.sentence]
    pairs = read_minimal_pairs(folder)
    source = Source(sentences + REPEATED_TRAIN * accepted, pairs, recipe.pretraining, recipe.seed)
    model = new_model(recipe, len(tokenizer))
    pretrain(model, tokenizer, source, recipe.pretraining)
    finetune_often(model, tokenizer, data.train, recipe)
    return tokenizer, model


def new_model(recipe: Recipe, vocab_size: int) -> GatedConvForSequenceClassification:
    """Untrained, with class 1 for "acceptable"."""
    return GatedConvForSequenceClassification(
        GatedConvConfig(
            vocab_size=vocab_size,
            hidden_size=recipe.hidden_size,
            dilations=recipe.dilations,
            dropout=recipe.dropout,
            id2label={0: "unacceptable", 1: "acceptable"},
            label2id={"unacceptable": 0, "acceptable": 1},
        )
    )


def finetune_often(
    model: GatedConvForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Judgement],
    recipe: Recipe,
) -> None:
    """Fine-tunes from the same start with several seeds; the model ends as the mean of all, which is better than each.

    After Wortsman et al. 2022 (https://arxiv.org/abs/2203.05482).
    """
    start = {name: value.clone() for name, value in model.state_dict().items()}
    mean = {name: torch.zeros_like(value) for name, value in start.items()}
    for seed in range(recipe.seed, recipe.seed + recipe.finetunings):
        model.load_state_dict(start)
        finetune(model, tokenizer, rows, recipe, seed)
        for name, value in model.state_dict().items():
            mean[name] += value / recipe.finetunings
    model.load_state_dict(mean)


def finetune(
    model: GatedConvForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Judgement],
    recipe: Recipe,
    seed: int,
) -> None:
    """Trains the model in place; it ends as the moving average of its weights on the way."""
    generator = torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    steps = recipe.epochs * (len(rows) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    ema = get_ema_multi_avg_fn(recipe.average_decay)  # type: ignore[no-untyped-call]
    average = AveragedModel(model, multi_avg_fn=ema)
    for module in model.train().modules():
        if isinstance(module, nn.Dropout):
            module.p = recipe.finetuning_dropout
    order = torch.cat([torch.randperm(len(rows), generator=generator) for _ in range(recipe.epochs)])
    for step in trange(steps, desc="cola"):
        chosen = [rows[int(i)] for i in order[step * recipe.batch_size : (step + 1) * recipe.batch_size]]
        encoded = tokenizer([row.sentence for row in chosen], padding=True, truncation=True, return_tensors="pt")
        labels = torch.tensor([int(row.acceptable) for row in chosen])
        loss = model(**encoded, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
    model.load_state_dict(average.module.state_dict())
    model.eval()


@torch.inference_mode()
def probabilities(
    model: GatedConvForSequenceClassification, tokenizer: PreTrainedTokenizerFast, sentences: Sequence[str]
) -> NDArray[np.float64]:
    """(sentences,) of class 1, one batch."""
    encoded = tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt")
    return np.asarray(model(**encoded).logits.double().softmax(dim=1)[:, 1].numpy())


@torch.no_grad()
def fold_threshold(model: GatedConvForSequenceClassification, threshold: float) -> None:
    """Shifts the classifier's bias in place so that what was `threshold` becomes a probability of 0.5."""
    model.classifier.bias[1] -= np.log(threshold / (1 - threshold))


def calibrate(
    model: GatedConvForSequenceClassification, tokenizer: PreTrainedTokenizerFast, held_out: Sequence[Judgement]
) -> float:
    """Fits the threshold on rows the model has not seen, folds it in, and returns what it was."""
    values = probabilities(model, tokenizer, [row.sentence for row in held_out])
    threshold = even_threshold(values, [row.acceptable for row in held_out])
    fold_threshold(model, threshold)
    return threshold


def export(
    tokenizer: PreTrainedTokenizerFast,
    model: GatedConvForSequenceClassification,
    folder: Path,
    training: Training,
    data: ColaData,
) -> Manifest:
    """Writes the calibrated checkpoint, and the manifest with figures beside their floors."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return finish(
        folder,
        Manifest(
            name="Munjang CoLA, English, gated convolutions",
            task="cola",
            kind="classifier",
            training=training,
            scores=scores(model, tokenizer, data.dev),
            floors=floors(data),
            max_tokens=tokenizer.model_max_length,
            threshold=SERVED_THRESHOLD,
        ),
        calibration=Examples.of_judgements("CoLA train", data.train),
        dev=Examples.of_judgements("CoLA in-domain dev", data.dev),
    )


def scores(
    model: GatedConvForSequenceClassification, tokenizer: PreTrainedTokenizerFast, dev: Sequence[Judgement]
) -> dict[str, float]:
    """In-domain dev figures at the served threshold."""
    return figures(probabilities(model, tokenizer, [row.sentence for row in dev]), SERVED_THRESHOLD, dev)


def floors(data: ColaData) -> dict[str, float]:
    """The figures of regression on word n-grams, its threshold fitted on the held-out rows too."""
    held_out = ngram_probabilities(data.train, [row.sentence for row in data.held_out])
    threshold = even_threshold(held_out, [row.acceptable for row in data.held_out])
    return figures(ngram_probabilities(data.train, [row.sentence for row in data.dev]), threshold, data.dev)


def figures(values: NDArray[np.float64], threshold: float, rows: Sequence[Judgement]) -> dict[str, float]:
    """Figures of the probabilities `values` (rows,), under the manifest's names."""
    truth = np.array([row.acceptable for row in rows])
    return {
        "cola_matthews": round(matthews(values >= threshold, truth), 4),
        "cola_accuracy": round(float(((values >= threshold) == truth).mean()), 4),
        "cola_roc_auc": round(float(roc_auc_score(truth, values)), 4),
    }


def trained(folder: Path, seed: int) -> from_scratch.Export:
    """The classifier, trained on the data in `folder`, and calibrated."""
    recipe = Recipe(seed=seed)
    data = load(folder, recipe.held_out_share, recipe.seed)
    tokenizer, model = train(folder, data, recipe)
    calibrate(model, tokenizer, data.held_out)
    return lambda output, training: export(tokenizer, model, output, training, data)


if __name__ == "__main__":
    from_scratch.main("cola", __doc__, TRAINED_ON, trained)
