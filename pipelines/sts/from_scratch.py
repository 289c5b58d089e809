"""Trains the shipped STS encoder: static token embeddings, averaged, learned from pairs.

python -m pipelines.sts.from_scratch --data ../shared/data --output checkpoints/sts --seed 0
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from torch import Tensor, nn
from tqdm import trange
from transformers import PreTrainedTokenizerFast

from pipelines.checkpoints.finish import finish
from pipelines.checkpoints.manifest import Manifest, Training
from pipelines.sts.contrastive import contrastive_loss, scored_loss
from pipelines.sts.data import Pool, ScoredPair, StsData, load
from pipelines.sts.floor import tfidf_cosines
from pipelines.sts.metrics import best_threshold, f1_at, pearson, spearman
from pipelines.sts.pieces import PieceVectors
from pipelines.sts.sentences import Sentences, index_sentences
from pipelines.training import from_scratch
from pipelines.wordpiece import train_wordpiece

SERVED_THRESHOLD = 0.6
"""Fixed by the service's contract: from this cosine on a pair is called the same."""

TRAINED_ON = ("KLUE-STS train", "KorSTS train", "Question pair", "KLUE-NLI dev", "XNLI ko", "ParaKQC")


@dataclass(frozen=True)
class Recipe:
    """Every choice of a training run; the defaults made the shipped checkpoint."""

    vocab_size: int = 8000
    dimensions: int = 256
    steps: int = 2400
    batch_size: int = 128
    negatives: int = 8
    temperature: float = 0.12
    scored_weight: float = 10
    token_dropout: float = 0.1
    part_dropout: float = 0.3
    initial_deviation: float = 0.6
    learning_rate: float = 1e-2
    held_out_share: float = 0.1
    seed: int = 0


def train(data: StsData, recipe: Recipe) -> SentenceTransformer:
    """The encoder, with a vocabulary made from the sentences that have partners."""
    torch.manual_seed(recipe.seed)
    draw = np.random.default_rng(recipe.seed)
    tokenizer = train_wordpiece(sentences_of(data.pools), recipe.vocab_size, max_tokens=None)
    sentences = index_sentences(data.pools, data.scored_pools, tokenizer, recipe.negatives)
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    vectors = PieceVectors(pieces, recipe.dimensions, recipe.initial_deviation)
    optimizer = torch.optim.Adam(vectors.parameters(), lr=recipe.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=recipe.steps)
    for _ in (bar := trange(recipe.steps, desc="sts")):
        loss = batch_loss(vectors, sentences, recipe, draw)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return assemble(tokenizer, vectors.table())


def batch_loss(vectors: PieceVectors, sentences: Sentences, recipe: Recipe, draw: np.random.Generator) -> Tensor:
    """Of a new batch: the contrastive loss, and that of the scored pairs as often as the recipe weighs it."""
    batch = sentences.draw(recipe.batch_size, recipe.batch_size, draw)
    ids, offsets = sentences.bags(batch.sentences, recipe.token_dropout, draw)
    embeddings = nn.functional.normalize(vectors.means(ids, offsets, recipe.part_dropout), dim=1)
    sizes = [recipe.batch_size, recipe.batch_size, len(batch.negatives), recipe.batch_size, recipe.batch_size]
    first, second, negatives, left, right = torch.split(embeddings, sizes)
    groups = torch.from_numpy(sentences.groups[batch.contrasted])
    contrast = contrastive_loss(first, second, negatives, groups, temperature=recipe.temperature)
    return contrast + recipe.scored_weight * scored_loss(left, right, torch.from_numpy(batch.scores))


def assemble(tokenizer: PreTrainedTokenizerFast, table: Tensor) -> SentenceTransformer:
    """The encoder as sentence-transformers loads it: look up in `table` (vocabulary, dimensions), average, unit
    length."""
    static = StaticEmbedding(tokenizer, embedding_weights=table)
    return SentenceTransformer(modules=[static, Normalize()], device="cpu", similarity_fn_name="cosine")


def sentences_of(pools: Sequence[Pool]) -> list[str]:
    """The pools' distinct sentences in order of appearance."""
    return list(dict.fromkeys(text for pool in pools for pair in pool.pairs for text in pair))


def cosines(model: SentenceTransformer, pairs: Sequence[ScoredPair]) -> NDArray[np.float64]:
    """(pairs,), -1 to 1."""
    left = model.encode([pair.sentence1 for pair in pairs])
    right = model.encode([pair.sentence2 for pair in pairs])
    return np.asarray((left * right).sum(axis=1), dtype=np.float64)


def measure(
    klue: NDArray[np.float64], korsts: NDArray[np.float64], threshold: float, data: StsData
) -> dict[str, float]:
    """Dev-set figures from the cosines (pairs,) of the two dev sets."""
    klue_scores = [pair.score for pair in data.klue_dev]
    korsts_scores = [pair.score for pair in data.korsts_dev]
    return {
        "klue_sts_pearson": pearson(klue, klue_scores),
        "klue_sts_spearman": spearman(klue, klue_scores),
        "klue_sts_f1": f1_at(klue, [pair.same for pair in data.klue_dev], threshold),
        "korsts_pearson": pearson(korsts, korsts_scores),
        "korsts_spearman": spearman(korsts, korsts_scores),
    }


def scores(model: SentenceTransformer, data: StsData) -> dict[str, float]:
    """The model's figures: F1 as served, and F1 at the threshold that the held-out pairs would choose."""
    klue, korsts, held_out = (cosines(model, pairs) for pairs in (data.klue_dev, data.korsts_dev, data.held_out))
    fitted = best_threshold(held_out, [pair.same for pair in data.held_out])
    at_fitted = f1_at(klue, [pair.same for pair in data.klue_dev], fitted)
    served = measure(klue, korsts, SERVED_THRESHOLD, data)
    return {**served, "klue_sts_f1_at_fitted_threshold": at_fitted, "fitted_threshold": fitted}


def floors(data: StsData) -> dict[str, float]:
    """The same figures for TF-IDF, which is given the threshold that suits it best on the held-out pairs."""
    fit_on = sentences_of(data.pools)
    klue, korsts, held_out = (tfidf_cosines(fit_on, pairs) for pairs in (data.klue_dev, data.korsts_dev, data.held_out))
    threshold = best_threshold(held_out, [pair.same for pair in data.held_out])
    return measure(klue, korsts, threshold, data)


def export(model: SentenceTransformer, folder: Path, training: Training, data: StsData) -> Manifest:
    """Writes the checkpoint: what sentence-transformers loads, and the manifest with figures beside their floors."""
    model.save(str(folder), create_model_card=False, safe_serialization=True)
    return finish(
        folder,
        Manifest(
            name="Munjang STS, Korean, static embeddings",
            task="sts",
            kind="bi-encoder",
            training=training,
            scores=rounded(scores(model, data)),
            floors=rounded(floors(data)),
            special_tokens=False,
            threshold=SERVED_THRESHOLD,
        ),
    )


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """To four digits, which is more than a dev set of 519 pairs carries."""
    return {name: round(value, 4) for name, value in figures.items()}


def trained(folder: Path, seed: int) -> from_scratch.Export:
    """The encoder, trained on the data in `folder`."""
    recipe = Recipe(seed=seed)
    data = load(folder, recipe.held_out_share, recipe.seed)
    model = train(data, recipe)
    return lambda output, training: export(model, output, training, data)


if __name__ == "__main__":
    from_scratch.main("sts", __doc__, TRAINED_ON, trained)
