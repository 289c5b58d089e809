import pytest
import torch
from torch import Tensor, nn

from pipelines.sts.contrastive import contrastive_loss, scored_loss

AXES = torch.eye(6)
GROUPS = torch.tensor([0, 1, 0, 1, 2])


def contrast(first: Tensor, second: Tensor, negatives: Tensor) -> float:
    return contrastive_loss(first, second, negatives, GROUPS, temperature=0.1).item()


def test_the_loss_falls_when_partners_agree() -> None:
    apart = contrast(AXES[:2], AXES[2:4], AXES[4:5])
    assert contrast(AXES[:2], AXES[:2], AXES[4:5]) < apart


def test_the_loss_rises_when_a_negative_looks_like_a_sentence() -> None:
    apart = contrast(AXES[:2], AXES[:2], AXES[4:5])
    assert contrast(AXES[:2], AXES[:2], AXES[:1]) > apart


def test_sentences_of_the_same_group_are_no_negatives() -> None:
    same_group = torch.tensor([0, 0, 0, 0, 2])
    twice = AXES[:1].expand(2, -1)
    loss = contrastive_loss(twice, twice, AXES[4:5], same_group, temperature=0.1)
    assert loss.item() == pytest.approx(0, abs=1e-3)


def test_the_scored_loss_is_the_squared_distance_of_cosine_and_score() -> None:
    second = nn.functional.normalize(torch.tensor([[0.6, 0.8], [0.0, 1.0]]), dim=1)
    loss = scored_loss(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), second, torch.tensor([0.6, 0.5]))
    assert loss.item() == pytest.approx(0.125)
