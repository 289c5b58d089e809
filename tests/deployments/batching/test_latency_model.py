import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.batching.latency_model import PRIOR, BatchCost, BatchLimits, LatencyModel, limits_of
from deployments.batching.queue import LengthQueue, Priority

INT8_CPU = BatchCost(1e-3, 1e-4)
SMALL_CPU = BatchCost(5e-4, 8e-6)
GPU = BatchCost(8e-3, 1e-6)
ENGINES = [INT8_CPU, SMALL_CPU, GPU]
SIZES = (10, 40, 160, 640, 2560)

engines = st.sampled_from(ENGINES)
seeds = st.integers(0, 2**32)


def taught(*engines: BatchCost, batches: int = 200, noise: float = 0.1, seed: int = 0) -> LatencyModel:
    """A model that has learnt from batches of each engine in turn."""
    chance = random.Random(seed)
    model = LatencyModel()
    for engine in engines:
        for _ in range(batches):
            padded = chance.choice(SIZES)
            model.learn(padded, engine.seconds(padded) * chance.lognormvariate(0, noise))
    return model


def worst_error(model: LatencyModel, engine: BatchCost) -> float:
    return max(abs(model.cost.seconds(size) / engine.seconds(size) - 1) for size in SIZES)


def test_the_cost_before_the_first_batch_is_the_prior() -> None:
    assert LatencyModel().cost == PRIOR
    assert min(PRIOR.fixed_s, PRIOR.s_per_token) > 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1e4)), min_size=1, max_size=200))
def test_costs_are_finite_and_not_negative_and_never_both_zero(batches: list[tuple[int, float]]) -> None:
    model = LatencyModel()
    for padded, seconds in batches:
        model.learn(padded, seconds)
        assert 0 <= model.cost.fixed_s < math.inf
        assert 0 <= model.cost.s_per_token < math.inf
        assert model.cost.seconds(1) > 0
    assert model.largest >= max(padded for padded, _ in batches)


@settings(deadline=None)
@given(engines, st.permutations(SIZES))
def test_batches_of_two_sizes_determine_both_parts_of_the_cost(engine: BatchCost, sizes: list[int]) -> None:
    model = LatencyModel()
    for padded in sizes[:2] * 20:
        model.learn(padded, engine.seconds(padded))
    assert model.cost.fixed_s == pytest.approx(engine.fixed_s, rel=0.02)
    assert model.cost.s_per_token == pytest.approx(engine.s_per_token, rel=0.02)


@settings(deadline=None)
@given(engines, seeds)
def test_the_time_of_noisy_batches_is_predicted(engine: BatchCost, seed: int) -> None:
    assert worst_error(taught(engine, seed=seed), engine) < 0.2


@settings(deadline=None)
@given(engines, st.integers(1, 4096), st.integers(1, 300))
def test_batches_of_one_size_are_predicted_and_keep_the_ratio_of_the_parts(
    engine: BatchCost, padded: int, batches: int
) -> None:
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
def test_the_model_follows_a_machine_that_changes_speed(engine: BatchCost, times: float, seed: int) -> None:
    changed = BatchCost(engine.fixed_s * times, engine.s_per_token * times)
    assert worst_error(taught(engine, changed, seed=seed), changed) < 0.25


@settings(deadline=None)
@given(engines, engines, seeds)
def test_the_model_follows_a_change_to_another_engine(old: BatchCost, new: BatchCost, seed: int) -> None:
    assert worst_error(taught(old, new, batches=400, seed=seed), new) < 0.25


TARGET_S = 0.1
CONSTANT = BatchLimits(padded=4096, padding=math.inf)  # does not depend on the machine

Lengths = NDArray[np.int64]


@dataclass
class Run:
    """How an engine emptied a queue: the seconds of each batch, and all tokens with and without padding."""

    seconds: list[float]
    padded: int
    tokens: int

    @property
    def total_s(self) -> float:
        return sum(self.seconds)


def limits(model: LatencyModel, max_tokens: int = 65_536, target_s: float = TARGET_S) -> BatchLimits:
    return limits_of(model, max_tokens=max_tokens, target_s=target_s)


@pytest.mark.parametrize("padding_cost", [0.3, 1.0])
def test_padding_may_take_the_time_of_the_fixed_part_whatever_a_token_of_it_costs(padding_cost: float) -> None:
    model = LatencyModel()
    for tokens in (100, 1000) * 20:
        model.learn(tokens, 1e-3 + 1e-5 * tokens)
    found = limits_of(model, max_tokens=65_536, target_s=TARGET_S, padding_cost=padding_cost)
    assert found.padding * padding_cost == pytest.approx(1e-3 / 1e-5, rel=1e-3)
    assert found.padded == limits(model).padded


def run(lengths: Lengths, engine: BatchCost, model: LatencyModel, fixed: BatchLimits | None = None) -> Run:
    """Empty a queue, with `fixed` limits or else with the limits of `model`, which learns from each batch."""
    queue = LengthQueue[str]((math.inf, math.inf))
    queue.add("file", lengths, Priority.BULK, 0.0)
    done = Run([], 0, int(lengths.sum()))
    while shares := queue.take(0.0, fixed or limits(model)):
        batch = lengths[shares[0].items]
        padded = int(batch.max()) * len(batch)
        model.learn(padded, engine.seconds(padded))
        done.seconds.append(engine.seconds(padded))
        done.padded += padded
    return done


def after_learning(lengths: Lengths, engine: BatchCost) -> Run:
    model = LatencyModel()
    for count in (1, 8, 64, len(lengths), len(lengths)):
        run(lengths[:count], engine, model)
    return run(lengths, engine, model)


def sentences(count: int, seed: int = 0) -> Lengths:
    """Lengths like those of single sentences: the median is 15 tokens, and few have more than 60."""
    return np.random.default_rng(seed).lognormal(np.log(15), 0.5, count).clip(3, 128).astype(np.int64)


def windows(count: int, seed: int = 0) -> Lengths:
    """Lengths like those of windows of contexts: most of them are full."""
    chance = np.random.default_rng(seed)
    return np.where(chance.random(count) < 0.8, 128, chance.integers(30, 129, count))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("count", [64, 256, 2000, 10_000])
@pytest.mark.parametrize("texts", [sentences, windows])
def test_learnt_limits_take_at_most_4_percent_longer_than_constant_limits(
    texts: "type[Lengths]", count: int, engine: BatchCost, seed: int
) -> None:
    lengths = texts(count, seed)
    learnt, constant = after_learning(lengths, engine), run(lengths, engine, LatencyModel(), CONSTANT)
    assert learnt.total_s <= 1.04 * constant.total_s


@pytest.mark.parametrize(
    ("engine", "count", "times"), [(INT8_CPU, 64, 1.5), (SMALL_CPU, 256, 1.3), (GPU, 2000, 1.4), (GPU, 10_000, 1.9)]
)
def test_learnt_limits_are_faster_if_padding_or_the_fixed_part_is_expensive(
    engine: BatchCost, count: int, times: float
) -> None:
    lengths = sentences(count)
    learnt, constant = after_learning(lengths, engine), run(lengths, engine, LatencyModel(), CONSTANT)
    assert times * learnt.total_s < constant.total_s


@given(st.lists(st.integers(1, 512), min_size=1, max_size=300).map(np.array), st.sampled_from(ENGINES))
def test_batches_on_a_known_machine_keep_to_the_target_time_and_the_padding_limit(
    lengths: Lengths, engine: BatchCost
) -> None:
    done = run(lengths, engine, taught(engine, noise=0))
    longest_alone = engine.seconds(int(lengths.max()))
    assert max(done.seconds) <= max(1.02 * TARGET_S, longest_alone)
    # The padding of a batch costs at most its fixed part. The last batches may have more, to save a batch.
    assert engine.s_per_token * (done.padded - done.tokens) <= 1.05 * engine.fixed_s * (len(done.seconds) + 2)


@given(st.lists(st.integers(1, 512), min_size=1, max_size=300).map(np.array), st.sampled_from(ENGINES))
def test_batches_on_an_unknown_machine_grow_in_steps(lengths: Lengths, engine: BatchCost) -> None:
    model = LatencyModel()
    queue = LengthQueue[str]((math.inf, math.inf))
    queue.add("file", lengths, Priority.BULK, 0.0)
    largest = model.largest
    while shares := queue.take(0.0, limits(model)):
        batch = lengths[shares[0].items]
        padded = int(batch.max()) * len(batch)
        assert padded <= max(2 * largest, batch.max())
        largest = max(largest, padded)
        model.learn(padded, engine.seconds(padded))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_long_queue_of_equal_windows_reaches_an_efficient_batch_size(engine: BatchCost) -> None:
    done = run(np.full(20_000, 128), engine, LatencyModel())
    assert done.total_s <= 1.2 * (engine.s_per_token * done.tokens + engine.fixed_s * done.tokens / 65_536)


def test_max_tokens_limits_a_batch_on_any_machine() -> None:
    assert limits(taught(GPU), max_tokens=1000).padded == 1000


def test_a_batch_grows_until_the_fixed_part_is_3_percent_of_its_time() -> None:
    model = taught(SMALL_CPU, noise=0)
    full_s = SMALL_CPU.seconds(limits(model).padded)
    assert SMALL_CPU.fixed_s / full_s == pytest.approx(0.03, rel=0.05)
    assert full_s < TARGET_S


def test_with_a_target_below_the_fixed_part_tokens_may_take_as_long_as_the_fixed_part() -> None:
    model = taught(INT8_CPU, noise=0)
    assert INT8_CPU.seconds(limits(model, target_s=1e-4).padded) == pytest.approx(2 * INT8_CPU.fixed_s, rel=0.05)


US_PER_TOKEN = {16: 263, 32: 206, 64: 167, 128: 152, 256: 145, 512: 151, 1024: 150, 2048: 162, 4096: 173}
"""By tokens of a batch, microseconds per token of a 12 x 384 encoder in int8; large batches leave the caches."""


def us_per_token(padded: float, *, neighbours: bool) -> float:
    """The cost above, or with work beside it that doubles all costs and halves the share of the caches."""
    sizes = list(US_PER_TOKEN)
    size = 2 * padded if neighbours else padded
    return float(np.interp(np.log(size), np.log(sizes), list(US_PER_TOKEN.values()))) * (2 if neighbours else 1)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("full", [1.0, 0.3])
def test_full_batches_cost_at_most_5_percent_more_than_the_best_size_also_after_neighbours_came(
    full: float, noise: float
) -> None:
    """`full` is the share of full batches. The others are of any smaller size."""
    chance = random.Random(0)
    model = LatencyModel()
    for neighbours in (False, True, False):
        for _ in range(200):
            largest = max(12, int(limits(model).padded))  # a batch has at least one item
            padded = largest if chance.random() < full else chance.randint(12, largest)
            seconds = 1e-6 * padded * us_per_token(padded, neighbours=neighbours) * chance.lognormvariate(0, noise)
            model.learn(padded, seconds)
        settled = us_per_token(max(12, limits(model).padded), neighbours=neighbours)
        best = min(us_per_token(size, neighbours=neighbours) for size in range(16, 4097, 16))
        assert settled <= 1.05 * best
