"""Trains the shipped QA extractor from scratch: gated convolutions over windows with overlap types.

python -m pipelines.qa.from_scratch --data ../shared/data --output checkpoints/qa --seed 0
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import trange
from transformers import PreTrainedTokenizerFast

from pipelines.checkpoints.finish import finish
from pipelines.checkpoints.manifest import Manifest, Training
from pipelines.checkpoints.quality import Examples
from pipelines.data_files import data_folder
from pipelines.gated_conv import GatedConvConfig, GatedConvForQuestionAnswering
from pipelines.qa.data import Example, load
from pipelines.qa.evaluate import answers
from pipelines.qa.features import LabelledWindows, label
from pipelines.qa.floor import lexical_answer
from pipelines.qa.metrics import score
from pipelines.qa.windows import WindowMaker, WindowSettings
from pipelines.tokens import TokenBatch
from pipelines.wordpiece import train_wordpiece


@dataclass(frozen=True)
class Recipe:
    """Every choice of a training run; the defaults made the shipped checkpoint."""

    vocab_size: int = 4096
    hidden_size: int = 128
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2)
    dropout: float = 0.15
    token_dropout: float = 0.1
    windows: WindowSettings = field(default_factory=WindowSettings)
    steps: int = 1300
    warmup_steps: int = 50
    batch_size: int = 32
    random_windows: float = 0.25
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    seed: int = 0


def train(examples: Sequence[Example], recipe: Recipe) -> tuple[PreTrainedTokenizerFast, GatedConvForQuestionAnswering]:
    """A vocabulary made from the examples' texts, and the model."""
    torch.manual_seed(recipe.seed)
    draw = np.random.default_rng(recipe.seed)
    texts = dict.fromkeys(text for example in examples for text in (example.question, example.context))
    tokenizer = train_wordpiece(texts, recipe.vocab_size, recipe.windows.max_seq_length)
    labelled = label(examples, window_maker(tokenizer, recipe.windows))
    model = GatedConvForQuestionAnswering(config(recipe, len(tokenizer))).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe))
    for _ in (bar := trange(recipe.steps, desc="qa")):
        chosen = labelled.draw(recipe.batch_size, recipe.random_windows, draw)
        loss = _loss(model, labelled, chosen, tokenizer, recipe.token_dropout)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return tokenizer, model.eval()


def config(recipe: Recipe, vocab_size: int) -> GatedConvConfig:
    """The model's sizes; token types are question, context, context that shares a bigram with the question."""
    return GatedConvConfig(
        vocab_size=vocab_size,
        hidden_size=recipe.hidden_size,
        type_vocab_size=3,
        dilations=recipe.dilations,
        dropout=recipe.dropout,
        question_vector=True,
        overlap_types=True,
    )


def window_maker(tokenizer: PreTrainedTokenizerFast, settings: WindowSettings) -> WindowMaker:
    """What cuts contexts, in training as in serving."""
    return WindowMaker(tokenizer.backend_tokenizer, settings, overlap_types=True)


def _rate(step: int, recipe: Recipe) -> float:
    """Share of the learning rate: up over the warm-up, then down to 0."""
    return min((step + 1) / recipe.warmup_steps, 1.0) * (1 - step / recipe.steps)


def _loss(
    model: GatedConvForQuestionAnswering,
    labelled: LabelledWindows,
    chosen: NDArray[np.int64],
    tokenizer: PreTrainedTokenizerFast,
    token_dropout: float,
) -> Tensor:
    batch = TokenBatch.gather([(labelled.windows.tokens, int(number)) for number in chosen])
    ids = torch.from_numpy(batch.padded_ids(tokenizer.pad_token_id))  # (batch, tokens)
    types = torch.from_numpy(batch.padded_types())
    ids = _hide(ids, tokenizer, token_dropout)
    output = model(
        input_ids=ids,
        attention_mask=torch.from_numpy(batch.mask),
        token_type_ids=types,
        start_positions=torch.from_numpy(labelled.starts[chosen]),
        end_positions=torch.from_numpy(labelled.ends[chosen]),
    )
    return torch.as_tensor(output.loss)


def _hide(ids: Tensor, tokenizer: PreTrainedTokenizerFast, share: float) -> Tensor:
    """ids (batch, tokens) with a share of the ordinary ones replaced by [MASK], so that no word is learned by heart."""
    ordinary = ids > tokenizer.mask_token_id
    return ids.masked_fill(ordinary & (torch.rand(ids.shape) < share), tokenizer.mask_token_id)


def export(
    tokenizer: PreTrainedTokenizerFast,
    model: GatedConvForQuestionAnswering,
    folder: Path,
    training: Training,
    examples: Sequence[Example],
    test: Sequence[Example],
    windows: WindowSettings,
) -> Manifest:
    """Writes the checkpoint and reads it back to measure it; figures beside their floors go into the manifest."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    manifest = Manifest(
        name="Munjang QA, Korean, gated convolutions",
        task="qa",
        kind="extractor",
        training=training,
        floors=figures([lexical_answer(example.question, example.context) for example in test], test),
        max_tokens=windows.max_seq_length,
        threshold=None,
    )
    found = answers(folder, manifest, test, windows)
    return finish(
        folder,
        manifest.model_copy(update={"scores": figures(found, test)}),
        calibration=Examples.of_questions("KorQuAD 1.0 dev, articles 1-100", examples),
        dev=Examples.of_questions("KorQuAD 1.0 dev, last 40 articles", test),
    )


def figures(found: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
    """KorQuAD's two figures, under the manifest's names."""
    result = score(found, [example.answer for example in examples])
    return {"korquad_exact_match": round(result.exact_match, 4), "korquad_f1": round(result.f1, 4)}


def main() -> None:
    """Train, export, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder(), help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("checkpoints/qa"), help="folder of the checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    recipe = Recipe(seed=arguments.seed)
    examples, test = load(arguments.data)
    tokenizer, model = train(examples, recipe)
    training = Training(
        data=["KorQuAD 1.0 dev, articles 1-100"],
        seed=recipe.seed,
        command=f"python -m pipelines.qa.from_scratch --seed {recipe.seed}",
        minutes=round((time.monotonic() - began) / 60, 1),
    )
    manifest = export(tokenizer, model, arguments.output, training, examples, test, recipe.windows)
    print(manifest.model_dump_json(indent=2, exclude={"files", "golden"}))  # noqa: T201


if __name__ == "__main__":
    main()
