import gc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipelines.training.run import Place, Run, rate, seed_of
from pipelines.training.settings import TrainingSettings
from tests.pipelines.training.numbers import DEV, SETTINGS, TRAIN, NumbersLearner


class Quiet:
    def __init__(self, **_: Any) -> None:
        pass

    def update(self, n: int = 1) -> None:
        pass

    def close(self) -> None:
        pass


def start(
    load: Callable[[], NumbersLearner] = NumbersLearner, place: Place | None = None, **changes: Any
) -> Run[float]:
    torch.set_num_threads(1)
    return Run(load, TRAIN, DEV, SETTINGS.model_copy(update=changes), place, Quiet)


def finish(run: Run[float]) -> Run[float]:
    for _ in run.epochs():
        pass
    return run


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_run_learns_and_measures_every_epoch() -> None:
    run = finish(start())
    assert [set(figures) for figures in run.history.epochs] == [{"accuracy", "loss"}] * 4
    assert run.history.epochs[-1]["accuracy"] > 0.9
    assert len(run.history.losses) == SETTINGS.steps(len(TRAIN)) == 28
    assert run.done


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    load = partial(NumbersLearner, 0.3)
    first, second, other = (finish(start(load, seed=seed)) for seed in (1, 1, 2))
    assert equal(first.best, second.best)
    assert first.history.losses == second.history.losses
    assert not equal(first.best, other.best)


@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_run_that_is_restored_ends_as_if_it_had_never_stopped(before: int, tmp_path: Path) -> None:
    load = partial(NumbersLearner, 0.3)
    stopped = start(load)
    for _, _ in zip(range(before), stopped.epochs(), strict=False):
        pass
    torch.save(stopped.state(), tmp_path / "state.pt")
    resumed = start(load)
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert len(resumed.history.epochs) == before
    whole = finish(start(load))
    finish(resumed)
    assert equal(resumed.best, whole.best)
    assert equal(resumed.learner.model.state_dict(), whole.learner.model.state_dict())
    assert (resumed.history.losses, resumed.history.epochs) == (whole.history.losses, whole.history.epochs)


def test_what_a_finished_run_leaves_holds_no_more_than_is_needed(tmp_path: Path) -> None:
    run = finish(start())
    assert set(run.state()) == {"history", "best"}
    again = start()
    again.restore(run.state())
    assert again.done
    assert list(again.epochs()) == []
    assert equal(again.best, run.best)


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    class WorseAndWorse(NumbersLearner):
        def key(self, figures: dict[str, float]) -> tuple[float, ...]:
            return (-figures["accuracy"], figures["loss"])

    run = start(WorseAndWorse)
    states = [{name: value.clone() for name, value in run.learner.model.state_dict().items()} for _ in run.epochs()]
    best = run.history.best(run.learner.key)
    assert best < len(states) - 1
    assert equal(run.best, states[best])


def test_rows_come_in_another_order_in_every_epoch_and_each_once() -> None:
    run = start()
    orders = [[row for batch in run._batches(epoch) for row in batch] for epoch in range(3)]
    assert all(sorted(order) == TRAIN for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_what_a_learner_makes_of_its_rows_is_what_counts_in_batches_and_steps() -> None:
    class Halves(NumbersLearner):
        def unfold(self, rows: Sequence[float]) -> list[float]:
            return [half for row in rows for half in (row / 2, row / 2 + 0.5)]

    run = start(Halves)
    epoch = run._batches(0)
    assert sorted(half for batch in epoch for half in batch) == sorted(Halves().unfold(TRAIN))
    assert {len(batch) for batch in epoch[:-1]} == {SETTINGS.batch_size}
    assert len(finish(run).history.losses) == SETTINGS.epochs * len(epoch) == SETTINGS.steps(2 * len(TRAIN))


def test_two_processes_in_step_compute_what_one_computes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_in_step, args=(2, tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    alone = finish(start(batch_size=7))  # 50 rows: the last batch holds one, and one process has no share of it
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["history"] == second["history"]
    torch.testing.assert_close(first["best"], alone.best)
    torch.testing.assert_close(first["history"]["losses"], alone.history.losses)
    assert first["history"]["epochs"][-1] == pytest.approx(alone.history.epochs[-1], abs=1e-5)
    assert second["best"] == {}


def _in_step(rank: int, world: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world)
    run = finish(start(place=Place(rank, world), batch_size=7))
    state = run.state()
    del state["history"]["seconds"]
    torch.save(state, folder / f"{rank}.pt")
    del run
    gc.collect()  # whatever has the group must go first: its end would wait, with the GIL, for threads that need it
    dist.destroy_process_group()


def test_only_matrices_decay() -> None:
    run = start(weight_decay=0.5)
    decays = {value.ndim: group["weight_decay"] for group in run._optimizer.param_groups for value in group["params"]}
    assert decays == {2: 0.5, 1: 0.0}


def test_forward_passes_may_be_in_bfloat16_and_weights_stay_in_float32() -> None:
    run = finish(start(precision="bfloat16"))
    assert {value.dtype for value in run.best.values()} == {torch.float32}
    assert not equal(run.best, finish(start()).best)


@given(
    st.integers(1, 300),
    st.floats(0, 1),
    st.sampled_from(["constant", "linear"]),
)
def test_the_rate_rises_over_the_warm_up_and_never_again(steps: int, warmup_ratio: float, schedule: Any) -> None:
    settings = TrainingSettings(warmup_ratio=warmup_ratio, schedule=schedule)
    rates = [rate(step, steps, settings) for step in range(steps)]
    warmup = round(warmup_ratio * steps)
    assert all(0 < value <= 1 for value in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert warmup == 0 or rates[warmup - 1] == 1
    assert schedule == "linear" or set(rates[warmup:]) <= {1.0}


def test_seeds_differ_by_each_of_their_numbers() -> None:
    combinations = [(seed, epoch, rank) for seed in range(3) for epoch in range(3) for rank in range(3)]
    assert len({seed_of(*numbers) for numbers in combinations}) == 27
    assert all(0 <= seed_of(*numbers) < 2**63 for numbers in combinations)
