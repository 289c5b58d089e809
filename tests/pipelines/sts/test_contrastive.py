import numpy as np
import pytest
import torch
from torch import nn

from pipelines.sts.contrastive import Sentences, contrastive_loss, index_sentences
from pipelines.sts.data import Pool
from pipelines.wordpiece import train_wordpiece

PAIRS = [("서울 날씨 알려줘", "서울의 날씨는?"), ("표를 예매해줘", "예매 부탁해"), ("불을 꺼줘", "전등 꺼")]


@pytest.fixture(scope="module")
def sentences() -> Sentences:
    tokenizer = train_wordpiece([text for pair in PAIRS for text in pair], 80, None)
    return index_sentences([Pool("hand-made", 2, PAIRS), Pool("empty", 1, [])], tokenizer, negatives=2)


def test_drawn_pairs_mean_the_same(sentences: Sentences) -> None:
    batch = sentences.draw_pairs(20, np.random.default_rng(0))
    assert (sentences.groups[batch[:, 0]] == sentences.groups[batch[:, 1]]).all()
    assert (batch[:, 0] != batch[:, 1]).all()


def test_bags_hold_the_chosen_sentences(sentences: Sentences) -> None:
    ids, offsets = sentences.bags(np.array([4, 1]), 0.0, np.random.default_rng(0))
    parts = [sentences.ids[sentences.starts[i] : sentences.starts[i + 1]].tolist() for i in (4, 1)]
    assert ids.tolist() == parts[0] + parts[1]
    assert offsets.tolist() == [0, len(parts[0])]


def test_dropout_never_empties_a_bag(sentences: Sentences) -> None:
    ids, offsets = sentences.bags(np.arange(6), 1.0, np.random.default_rng(0))
    assert offsets.tolist() == list(range(6))
    assert ids.tolist() == sentences.ids[sentences.starts[:-1]].tolist()


def test_the_loss_falls_when_partners_agree(sentences: Sentences) -> None:
    bag = nn.EmbeddingBag(80, 6, mode="mean")
    batch = np.concatenate(sentences.pairs)
    losses = []
    for agree in (False, True):
        with torch.no_grad():
            for sentence in range(6):
                direction = torch.eye(6)[sentences.groups[sentence] if agree else sentence]
                bag.weight[sentences.ids[sentences.starts[sentence] : sentences.starts[sentence + 1]]] = direction
        draw = np.random.default_rng(0)
        losses.append(contrastive_loss(bag, sentences, batch, temperature=0.1, dropout=0.0, draw=draw).item())
    assert losses[1] < losses[0]
