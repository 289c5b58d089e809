from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModelForSequenceClassification

from pipelines.training.optimization import depths_of, optimizer_of, rate_factor
from pipelines.training.settings import TrainingSettings
from tests.conftest import MakeCheckpoint


def by_name(model: nn.Module, key: str, **settings: Any) -> dict[str, float]:
    """The value of `key` in the optimizer's group of each parameter, by the parameter's name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = optimizer_of(model, TrainingSettings(**settings)).param_groups
    return {names[id(parameter)]: group[key] for group in groups for parameter in group["params"]}


def test_only_matrices_have_weight_decay() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    decays = by_name(model, "weight_decay", weight_decay=0.5)
    assert decays == {"0.weight": 0.5, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0}


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 3).requires_grad_(False), nn.Linear(3, 1))
    assert set(by_name(model, "lr")) == {"1.weight", "1.bias"}


@pytest.mark.parametrize("kind", ["classifier", "classifier-distilbert"])
def test_lower_layers_have_lower_learning_rates(checkpoint: MakeCheckpoint, kind: str) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint(kind))
    depths = depths_of(model)
    layers = model.config.num_hidden_layers
    assert {depth for name, depth in depths.items() if "embeddings" in name} == {0}
    assert {depth for name, depth in depths.items() if "layer." in name} == set(range(1, layers + 1))
    assert {depth for name, depth in depths.items() if "classifier" in name} == {layers + 1}
    rates = by_name(model, "lr", learning_rate=1.0, layer_decay=0.5)
    assert rates == {name: 0.5 ** (layers + 1 - depth) for name, depth in depths.items()}


def test_a_model_without_layers_has_one_learning_rate() -> None:
    rates = by_name(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), "lr", learning_rate=0.25, layer_decay=0.5)
    assert set(rates.values()) == {0.25}


@given(
    st.integers(1, 300),
    st.floats(0, 1),
    st.sampled_from(["constant", "linear"]),
)
def test_the_rate_rises_only_during_the_warm_up(steps: int, warmup_ratio: float, schedule: Any) -> None:
    settings = TrainingSettings(warmup_ratio=warmup_ratio, schedule=schedule)
    rates = [rate_factor(step, steps, settings) for step in range(steps)]
    warmup = round(warmup_ratio * steps)
    assert all(0 < value <= 1 for value in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert warmup == 0 or rates[warmup - 1] == 1
    assert schedule == "linear" or set(rates[warmup:]) <= {1.0}
