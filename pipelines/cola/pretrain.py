"""Warm-up on correct text made wrong: which words are wrong, and is the sentence?"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import trange
from transformers import PreTrainedTokenizerFast

from pipelines.cola.corruption import Corrupter
from pipelines.gated_conv import GatedConvForSequenceClassification

UNKNOWN = -100
"""Label of a token of which nobody said whether it is wrong."""


@dataclass(frozen=True)
class PretrainingRecipe:
    """Every choice of the warm-up."""

    steps: int = 1500
    batch_size: int = 128
    corrupted: float = 0.55
    minimal_pairs: float = 0.15
    token_loss: float = 2.0
    learning_rate: float = 2.5e-3
    warmup_steps: int = 100


@dataclass(frozen=True)
class Marked:
    """A sentence's words, which of them are wrong (None: unknown), and whether it is acceptable as a whole."""

    words: list[str]
    wrong: list[bool] | None
    acceptable: bool


class Source:
    """Draws sentences: whole or corrupted ones from a corpus, one side of a minimal pair now and then."""

    def __init__(
        self, sentences: list[list[str]], pairs: Sequence[tuple[str, str]], recipe: PretrainingRecipe, seed: int
    ) -> None:
        self._sentences, self._pairs, self._recipe = sentences, pairs, recipe
        self._corrupt = Corrupter(sentences)
        self._draw = random.Random(seed)

    def batch(self) -> list[Marked]:
        """`batch_size` sentences."""
        return [self._one() for _ in range(self._recipe.batch_size)]

    def _one(self) -> Marked:
        if self._pairs and self._draw.random() < self._recipe.minimal_pairs:
            side = self._draw.randrange(2)
            return Marked(self._draw.choice(self._pairs)[side].split(), None, acceptable=side == 0)
        words = self._draw.choice(self._sentences)
        if self._draw.random() >= self._recipe.corrupted:
            return Marked(words, [False] * len(words), acceptable=True)
        edited = self._corrupt(words, self._draw)
        return Marked(edited.words, edited.changed, acceptable=not any(edited.changed))


def pretrain(
    model: GatedConvForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    source: Source,
    recipe: PretrainingRecipe,
) -> None:
    """Trains the model in place; its sentence head goes on into fine-tuning, the token head is dropped."""
    token_head = nn.Linear(model.config.hidden_size, 1)
    parameters = [*model.parameters(), *token_head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe))
    model.train()
    for _ in (bar := trange(recipe.steps, desc="cola warm-up")):
        loss = _loss(model, token_head, tokenizer, source.batch(), recipe.token_loss)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


def _rate(step: int, recipe: PretrainingRecipe) -> float:
    """Share of the learning rate: up over the warm-up steps, then down to 0."""
    return min((step + 1) / recipe.warmup_steps, 1.0) * (1 - step / recipe.steps)


def _loss(
    model: GatedConvForSequenceClassification,
    token_head: nn.Linear,
    tokenizer: PreTrainedTokenizerFast,
    batch: Sequence[Marked],
    token_loss: float,
) -> Tensor:
    encoded = tokenizer([row.words for row in batch], is_split_into_words=True, padding=True, return_tensors="pt")
    labels = torch.tensor([token_labels(row, encoded.word_ids(number)) for number, row in enumerate(batch)])
    mask = encoded["attention_mask"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.encode(encoded["input_ids"], mask, None)  # (batch, tokens, hidden)
        sentence = model.classify(hidden, mask)
        token = token_head(hidden)[..., 0]  # (batch, tokens)
    known = labels != UNKNOWN
    wrong = nn.functional.binary_cross_entropy_with_logits(token.float()[known], labels[known].float())
    acceptable = torch.tensor([int(row.acceptable) for row in batch])
    return token_loss * wrong + nn.functional.cross_entropy(sentence.float(), acceptable)


def token_labels(row: Marked, words: Sequence[int | None]) -> list[int]:
    """Per token 1 if its word is wrong, 0 if not, UNKNOWN for special tokens and unmarked sentences."""
    wrong = row.wrong
    if wrong is None:
        return [UNKNOWN] * len(words)
    return [UNKNOWN if word is None else int(wrong[word]) for word in words]
