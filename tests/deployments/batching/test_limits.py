import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.batching.latency_model import BatchCost, LatencyModel
from deployments.batching.limits import BatchLimits, limits_of
from deployments.batching.queue import Lane, LengthQueue
from tests.deployments.test_latency_model import ENGINES, GPU, INT8_CPU, SMALL_CPU, taught

TARGET_S = 0.1
CONSTANT = BatchLimits(padded=4096, padding=math.inf)  # the rule that knows nothing of the machine

Lengths = NDArray[np.int64]


@dataclass
class Run:
    """What became of a queue of items on an engine: seconds of each batch, and tokens with padding and without."""

    seconds: list[float]
    padded: int
    tokens: int

    @property
    def total_s(self) -> float:
        return sum(self.seconds)


def limits(model: LatencyModel, max_tokens: int = 65_536, target_s: float = TARGET_S) -> BatchLimits:
    return limits_of(model, max_tokens=max_tokens, target_s=target_s)


def run(lengths: Lengths, engine: BatchCost, model: LatencyModel, fixed: BatchLimits | None = None) -> Run:
    """Empty a queue, by what `model` learns on the way or by `fixed` limits."""
    queue = LengthQueue[str]((math.inf, math.inf))
    queue.add("file", lengths, Lane.BULK, 0.0)
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
    """Lengths like those of single sentences: 15 tokens in the middle, few above 60."""
    return np.random.default_rng(seed).lognormal(np.log(15), 0.5, count).clip(3, 128).astype(np.int64)


def windows(count: int, seed: int = 0) -> Lengths:
    """Lengths like those of windows over contexts: most of them full."""
    chance = np.random.default_rng(seed)
    return np.where(chance.random(count) < 0.8, 128, chance.integers(30, 129, count))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("count", [64, 256, 2000, 10_000])
@pytest.mark.parametrize("texts", [sentences, windows])
def test_batches_cost_at_most_a_few_percent_more_than_constant_ones_and_mostly_less(
    texts: "type[Lengths]", count: int, engine: BatchCost, seed: int
) -> None:
    lengths = texts(count, seed)
    learnt, constant = after_learning(lengths, engine), run(lengths, engine, LatencyModel(), CONSTANT)
    assert learnt.total_s <= 1.04 * constant.total_s


@pytest.mark.parametrize(
    ("engine", "count", "times"), [(INT8_CPU, 64, 1.5), (SMALL_CPU, 256, 1.3), (GPU, 2000, 1.4), (GPU, 10_000, 1.9)]
)
def test_where_padding_or_starting_costs_most_batches_beat_constant_ones(
    engine: BatchCost, count: int, times: float
) -> None:
    lengths = sentences(count)
    learnt, constant = after_learning(lengths, engine), run(lengths, engine, LatencyModel(), CONSTANT)
    assert times * learnt.total_s < constant.total_s


@given(st.lists(st.integers(1, 512), min_size=1, max_size=300).map(np.array), st.sampled_from(ENGINES))
def test_a_known_machine_keeps_to_the_target_and_pads_no_more_than_a_batch_costs(
    lengths: Lengths, engine: BatchCost
) -> None:
    done = run(lengths, engine, taught(engine, noise=0))
    longest_alone = engine.seconds(int(lengths.max()))
    assert max(done.seconds) <= max(1.02 * TARGET_S, longest_alone)
    # each as much as its fixed part; the last one may have saved another batch
    assert engine.s_per_token * (done.padded - done.tokens) <= 1.05 * engine.fixed_s * (len(done.seconds) + 2)


@given(st.lists(st.integers(1, 512), min_size=1, max_size=300).map(np.array), st.sampled_from(ENGINES))
def test_an_unknown_machine_is_tried_in_steps(lengths: Lengths, engine: BatchCost) -> None:
    model = LatencyModel()
    queue = LengthQueue[str]((math.inf, math.inf))
    queue.add("file", lengths, Lane.BULK, 0.0)
    largest = model.largest
    while shares := queue.take(0.0, limits(model)):
        batch = lengths[shares[0].items]
        padded = int(batch.max()) * len(batch)
        assert padded <= max(2 * largest, batch.max())
        largest = max(largest, padded)
        model.learn(padded, engine.seconds(padded))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_long_queue_of_windows_of_one_length_finds_the_size_that_pays(engine: BatchCost) -> None:
    done = run(np.full(20_000, 128), engine, LatencyModel())
    assert done.total_s <= 1.2 * (engine.s_per_token * done.tokens + engine.fixed_s * done.tokens / 65_536)


def test_memory_bounds_a_batch_whatever_the_machine() -> None:
    assert limits(taught(GPU), max_tokens=1000).padded == 1000


def test_a_batch_ends_where_a_larger_one_would_hardly_be_faster() -> None:
    model = taught(SMALL_CPU, noise=0)
    full_s = SMALL_CPU.seconds(limits(model).padded)
    assert SMALL_CPU.fixed_s / full_s == pytest.approx(0.03, rel=0.05)
    assert full_s < TARGET_S


def test_a_target_below_the_fixed_part_still_lets_a_batch_do_half_its_time_of_work() -> None:
    model = taught(INT8_CPU, noise=0)
    assert INT8_CPU.seconds(limits(model, target_s=1e-4).padded) == pytest.approx(2 * INT8_CPU.fixed_s, rel=0.05)
