from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from pipelines.checkpoints.manifest import Training
from pipelines.checkpoints.verify import verify
from pipelines.sts.data import ScoredPair, load
from pipelines.sts.from_scratch import Recipe, cosines, export, train
from tests.pipelines.sts.rows import write_all

TINY = Recipe(vocab_size=200, dimensions=16, steps=30, batch_size=8, negatives=2, held_out_share=0.5)
PAIRS = (("부산 날씨 알려줘", "오늘 부산 날씨가 어때?"), ("부산 날씨 알려줘", "오늘 대구 날씨가 어때?"))


def test_training_learns_and_exports_a_checkpoint_that_verifies(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    data = load(write_all(tmp_path / "data"), TINY.held_out_share, TINY.seed)
    model = train(data, TINY)
    training = Training(data=["hand-made"], seed=0, command="none", minutes=0)
    manifest = export(model, tmp_path / "sts", training, data)
    assert verify(tmp_path / "sts", "sts") == manifest
    assert manifest.threshold == 0.6
    loaded = SentenceTransformer(str(tmp_path / "sts"), device="cpu")
    np.testing.assert_array_equal(cosines(loaded, data.klue_dev), cosines(model, data.klue_dev))
    same, different = cosines(loaded, [ScoredPair(*pair, score=0) for pair in PAIRS])
    assert same > different


def test_the_same_seed_gives_the_same_embeddings(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    data = load(write_all(tmp_path), TINY.held_out_share, TINY.seed)
    first, second = (train(data, TINY).encode("서울 날씨") for _ in range(2))
    np.testing.assert_array_equal(first, second)
