"""Trains the shipped QA extractor from scratch: gated convolutions over windows with overlap types.

python -m pipelines.qa.from_scratch --data ../shared/data --output checkpoints/qa --seed 0
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import trange
from transformers import PreTrainedTokenizerFast

from pipelines.checkpoints.finish import finish
from pipelines.checkpoints.manifest import Manifest, Training
from pipelines.checkpoints.quality import Examples
from pipelines.gated_conv import GatedConvConfig, GatedConvForQuestionAnswering
from pipelines.qa.corpus import cloze_examples, english_examples, korean_passages
from pipelines.qa.data import Example, load
from pipelines.qa.evaluate import answers
from pipelines.qa.features import label
from pipelines.qa.floor import lexical_answer
from pipelines.qa.metrics import score
from pipelines.qa.mixture import Batch, Disguise, Mixture, rare_tokens
from pipelines.qa.overlap import GRADES
from pipelines.qa.windows import OVERLAP_TYPE, WindowMaker, WindowSettings
from pipelines.training import from_scratch
from pipelines.wordpiece import train_wordpiece

TRAINED_ON = (
    "KorQuAD 1.0 dev, articles 1-100",
    "questions made from KoBEST BoolQ passages, UD Korean Kaist and GSD, Korean-English Park news",
    "SQuAD 1.1 dev, SQuADShifts New Wikipedia",
)


@dataclass(frozen=True)
class Recipe:
    """Every choice of a training run; the defaults made the shipped checkpoint.

    shares_first, shares_last  of the draws as training begins and ends: KorQuAD, made questions, English
    averaging                  of the weights before the last step, which the shipped ones are a running mean of
    """

    vocab_size: int = 6000
    hidden_size: int = 128
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 1)
    question_attention: tuple[int, ...] = (2, 5)
    dropout: float = 0.15
    hidden_tokens: float = 0.08
    exchanged_tokens: float = 0.15
    common_tokens: int = 400
    windows: WindowSettings = field(default_factory=WindowSettings)
    per_passage: int = 4
    shares_first: tuple[float, float, float] = (0.25, 0.5, 0.25)
    shares_last: tuple[float, float, float] = (0.8, 0.15, 0.05)
    steps: int = 2500
    warmup_steps: int = 100
    batch_size: int = 32
    random_windows: float = 0.25
    learning_rate: float = 2.5e-3
    weight_decay: float = 0.01
    averaging: float = 0.998
    seed: int = 0


@dataclass(frozen=True)
class Sources:
    """What is learned from; the vocabulary comes from all but the English contexts, of which there are too many."""

    korquad: Sequence[Example]
    cloze: Sequence[Example]
    english: Sequence[Example]

    def texts(self) -> list[str]:
        """Each text once; Korean first."""
        korean = [example.context for example in (*self.korquad, *self.cloze)]
        questions = [example.question for example in (*self.korquad, *self.english)]
        return list(dict.fromkeys((*korean, *questions)))


def read_sources(folder: Path, korquad: Sequence[Example], recipe: Recipe) -> Sources:
    """Made questions on KorQuAD's contexts and on further texts, and English questions, beside KorQuAD's own."""
    passages = list(dict.fromkeys(example.context for example in korquad)) + korean_passages(folder)
    return Sources(korquad, cloze_examples(passages, recipe.per_passage, recipe.seed), english_examples(folder))


def train(sources: Sources, recipe: Recipe) -> tuple[PreTrainedTokenizerFast, GatedConvForQuestionAnswering]:
    """A vocabulary made from the sources' texts, and the model."""
    torch.manual_seed(recipe.seed)
    draw = np.random.default_rng(recipe.seed)
    tokenizer = train_wordpiece(sources.texts(), recipe.vocab_size, recipe.windows.max_seq_length, split_particles=True)
    make = window_maker(tokenizer, recipe.windows)
    labelled = [label(examples, make) for examples in (sources.korquad, sources.cloze, sources.english)]
    mixture = Mixture(labelled, recipe.shares_first, recipe.shares_last, recipe.random_windows, tokenizer.pad_token_id)
    rare = rare_tokens(labelled[0], recipe.common_tokens, tokenizer.mask_token_id, len(tokenizer))
    disguise = Disguise(recipe.hidden_tokens, recipe.exchanged_tokens, rare, tokenizer.mask_token_id, len(tokenizer))
    return tokenizer, fit(
        GatedConvForQuestionAnswering(config(recipe, len(tokenizer))), mixture, disguise, recipe, draw
    )


def fit(
    model: GatedConvForQuestionAnswering,
    mixture: Mixture,
    disguise: Disguise,
    recipe: Recipe,
    draw: np.random.Generator,
) -> GatedConvForQuestionAnswering:
    """A running mean of the model's weights while it learns."""
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging))  # type: ignore[no-untyped-call]
    optimizer = torch.optim.AdamW(
        model.train().parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe))
    for step in (bar := trange(recipe.steps, desc="qa", mininterval=10)):
        batch = mixture.draw(recipe.batch_size, step / recipe.steps, draw)
        loss = _loss(model, replace(batch, input_ids=disguise(batch.input_ids, draw)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    model.load_state_dict(average.module.state_dict())
    model.eval()
    return model


def config(recipe: Recipe, vocab_size: int) -> GatedConvConfig:
    """The model's sizes; token types are question, context, and the grades of overlap."""
    return GatedConvConfig(
        vocab_size=vocab_size,
        hidden_size=recipe.hidden_size,
        type_vocab_size=OVERLAP_TYPE + GRADES,
        dilations=recipe.dilations,
        dropout=recipe.dropout,
        question_vector=True,
        question_attention=recipe.question_attention,
        overlap_types=GRADES,
    )


def window_maker(tokenizer: PreTrainedTokenizerFast, settings: WindowSettings) -> WindowMaker:
    """What cuts contexts, in training as in serving."""
    return WindowMaker(tokenizer.backend_tokenizer, settings, overlap_types=GRADES)


def _rate(step: int, recipe: Recipe) -> float:
    """Share of the learning rate: up over the warm-up, then down to 0."""
    return min((step + 1) / recipe.warmup_steps, 1.0) * (1 - step / recipe.steps)


def _loss(model: GatedConvForQuestionAnswering, batch: Batch) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return torch.as_tensor(model(**vars(batch)).loss)


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
        windows=windows,
        threshold=None,
    )
    found = answers(folder, manifest, test)
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


def trained(folder: Path, seed: int) -> from_scratch.Export:
    """The extractor, trained on the data in `folder`."""
    recipe = Recipe(seed=seed)
    examples, test = load(folder)
    tokenizer, model = train(read_sources(folder, examples, recipe), recipe)
    return lambda output, training: export(tokenizer, model, output, training, examples, test, recipe.windows)


if __name__ == "__main__":
    from_scratch.main("qa", __doc__, TRAINED_ON, trained)
