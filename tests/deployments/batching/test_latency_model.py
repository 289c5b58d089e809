import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.batching.latency_model import PRIOR, BatchCost, LatencyModel

INT8_CPU = BatchCost(1e-3, 1e-4)
SMALL_CPU = BatchCost(5e-4, 8e-6)
GPU = BatchCost(8e-3, 1e-6)
ENGINES = [INT8_CPU, SMALL_CPU, GPU]
SIZES = (10, 40, 160, 640, 2560)

engines = st.sampled_from(ENGINES)
seeds = st.integers(0, 2**32)


def taught(*engines: BatchCost, batches: int = 200, noise: float = 0.1, seed: int = 0) -> LatencyModel:
    """A model that saw each engine in turn."""
    chance = random.Random(seed)
    model = LatencyModel()
    for engine in engines:
        for _ in range(batches):
            padded = chance.choice(SIZES)
            model.learn(padded, engine.seconds(padded) * chance.lognormvariate(0, noise))
    return model


def worst_error(model: LatencyModel, engine: BatchCost) -> float:
    return max(abs(model.cost.seconds(size) / engine.seconds(size) - 1) for size in SIZES)


def test_before_the_first_batch_the_prior_stands() -> None:
    assert LatencyModel().cost == PRIOR
    assert min(PRIOR.fixed_s, PRIOR.s_per_token) > 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1e4)), min_size=1, max_size=200))
def test_costs_are_finite_and_never_negative_or_nothing(batches: list[tuple[int, float]]) -> None:
    model = LatencyModel()
    for padded, seconds in batches:
        model.learn(padded, seconds)
        assert 0 <= model.cost.fixed_s < math.inf
        assert 0 <= model.cost.s_per_token < math.inf
        assert model.cost.seconds(1) > 0
    assert model.largest >= max(padded for padded, _ in batches)


@settings(deadline=None)
@given(engines, st.permutations(SIZES))
def test_two_sizes_suffice_to_tell_the_parts_apart(engine: BatchCost, sizes: list[int]) -> None:
    model = LatencyModel()
    for padded in sizes[:2] * 20:
        model.learn(padded, engine.seconds(padded))
    assert model.cost.fixed_s == pytest.approx(engine.fixed_s, rel=0.02)
    assert model.cost.s_per_token == pytest.approx(engine.s_per_token, rel=0.02)


@settings(deadline=None)
@given(engines, seeds)
def test_noisy_batches_are_predicted(engine: BatchCost, seed: int) -> None:
    assert worst_error(taught(engine, seed=seed), engine) < 0.2


@settings(deadline=None)
@given(engines, st.integers(1, 4096), st.integers(1, 300))
def test_batches_of_one_size_are_predicted_and_keep_the_ratio(engine: BatchCost, padded: int, batches: int) -> None:
    model = LatencyModel()
    for _ in range(batches):
        model.learn(padded, engine.seconds(padded))
    assert model.cost.seconds(padded) == pytest.approx(engine.seconds(padded), rel=1e-6)
    assert model.cost.fixed_s / model.cost.s_per_token == pytest.approx(PRIOR.fixed_s / PRIOR.s_per_token, rel=1e-3)


@settings(deadline=None)
@given(engines, st.integers(0, 29), st.sampled_from(SIZES), st.floats(1, 1e4), seeds)
def test_one_slow_batch_hardly_counts(engine: BatchCost, place: int, padded: int, times: float, seed: int) -> None:
    chance = random.Random(seed)
    model, undisturbed = LatencyModel(), LatencyModel()
    for number in range(30):
        size = chance.choice(SIZES)
        for each in (model, undisturbed):
            each.learn(size, engine.seconds(size))
        if number == place:
            model.learn(padded, engine.seconds(padded) * times)
    assert worst_error(model, engine) < worst_error(undisturbed, engine) + 0.15


@settings(deadline=None)
@given(engines, st.floats(0.2, 5), seeds)
def test_a_machine_that_changes_speed_is_believed(engine: BatchCost, times: float, seed: int) -> None:
    changed = BatchCost(engine.fixed_s * times, engine.s_per_token * times)
    assert worst_error(taught(engine, changed, seed=seed), changed) < 0.25


@settings(deadline=None)
@given(engines, engines, seeds)
def test_another_model_on_the_machine_is_learnt_whatever_was_known(old: BatchCost, new: BatchCost, seed: int) -> None:
    assert worst_error(taught(old, new, batches=400, seed=seed), new) < 0.25
