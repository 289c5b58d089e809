import gc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from pipelines.training.stage import Source, Stage
from pipelines.training.trainer import Trainer, Worker, seed_of
from tests.pipelines.training.numbers import DEV, SETTINGS, STEPS, TRAIN, NumbersLearner


def start(
    load: Callable[[], NumbersLearner] = NumbersLearner,
    place: Worker | None = None,
    stages: Sequence[Stage[float]] = (Stage.of(TRAIN),),
    **changes: Any,
) -> Trainer[float]:
    torch.set_num_threads(1)
    return Trainer(load, stages, DEV, SETTINGS.model_copy(update=changes), place)


def finish(run: Trainer[float]) -> Trainer[float]:
    for _ in run.epochs():
        pass
    return run


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_run_learns_and_measures_every_epoch() -> None:
    run = finish(start())
    assert [set(figures) for figures in run.history.epochs] == [{"accuracy", "loss"}] * 4
    assert run.history.epochs[-1]["accuracy"] > 0.9
    assert len(run.history.losses) == sum(run.history.steps) == STEPS == 28
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
        def sort_key(self, figures: dict[str, float]) -> tuple[float, ...]:
            return (-figures["accuracy"], figures["loss"])

    run = start(WorseAndWorse)
    states = [{name: value.clone() for name, value in run.learner.model.state_dict().items()} for _ in run.epochs()]
    best = run.history.best(run.learner.sort_key)
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
    assert sorted(map(len, epoch)) == [4, *[SETTINGS.batch_size] * 12]
    assert len(finish(run).history.losses) == SETTINGS.epochs * len(epoch) == 4 * 13


def test_stages_are_learned_in_turn_and_the_schedule_spans_them_all() -> None:
    stages = [Stage.of(TRAIN[:10]), Stage([Source(TRAIN[10:20]), Source(TRAIN[20:], weight=0.5)])]
    run = start(stages=stages, earlier_epochs=2, epochs=3)
    seen = [sorted(row for batch in run._batches(epoch) for row in batch) for epoch in range(5)]
    assert seen[:2] == [TRAIN[:10]] * 2
    assert all(set(TRAIN[10:20]) < set(epoch) < set(TRAIN[10:]) and len(epoch) == 25 for epoch in seen[2:])
    assert len({tuple(epoch) for epoch in seen[2:]}) == 3
    finish(run)
    assert run.history.steps == [2, 2, 4, 4, 4]
    assert run._schedule.get_last_lr()[0] == 0  # linear: at its end after the last of all steps


def test_a_run_of_several_stages_that_is_restored_ends_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    stages = [Stage.of(TRAIN[:20]), Stage.of(TRAIN[20:])]
    stopped = start(stages=stages)
    next(stopped.epochs())
    torch.save(stopped.state(), tmp_path / "state.pt")
    resumed = start(stages=stages)
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    whole = finish(start(stages=stages))
    assert equal(finish(resumed).best, whole.best)
    assert resumed.history.steps == whole.history.steps == [3, 4, 4, 4, 4]


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_a_batch_in_parts_teaches_what_it_teaches_as_a_whole(parts: int) -> None:
    whole, in_parts = finish(start()), finish(start(accumulation=parts))
    torch.testing.assert_close(in_parts.best, whole.best)
    torch.testing.assert_close(in_parts.history.losses, whole.history.losses)


def test_a_run_stops_when_patience_is_over_and_keeps_the_best_epoch() -> None:
    class WorseAndWorse(NumbersLearner):
        def sort_key(self, figures: dict[str, float]) -> tuple[float, ...]:
            return (-figures["accuracy"], figures["loss"])

    run = finish(start(WorseAndWorse, patience=2, epochs=40))
    best = run.history.best(run.learner.sort_key)
    assert len(run.history.epochs) == best + 1 + 2 < 40
    again = start(WorseAndWorse, patience=2, epochs=40)
    again.restore(run.state())
    assert again.done


def test_patience_begins_with_the_last_stage() -> None:
    run = start(stages=[Stage.of(TRAIN)] * 3, earlier_epochs=3, epochs=1, patience=1)
    assert len(finish(run).history.epochs) == 7


def test_two_processes_in_step_compute_what_one_computes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_in_step, args=(2, tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    alone = finish(start(batch_size=7, accumulation=2))  # 50 rows: a batch of one, of which one process has no share
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["history"] == second["history"]
    torch.testing.assert_close(first["best"], alone.best)
    torch.testing.assert_close(first["history"]["losses"], alone.history.losses)
    assert first["history"]["epochs"][-1] == pytest.approx(alone.history.epochs[-1], abs=1e-5)
    assert second["best"] == {}


def _in_step(rank: int, world: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world)
    run = finish(start(place=Worker(rank, world), batch_size=7, accumulation=2))
    state = run.state()
    del state["history"]["seconds"]
    torch.save(state, folder / f"{rank}.pt")
    del run
    gc.collect()  # whatever has the group must go first: its end would wait, with the GIL, for threads that need it
    dist.destroy_process_group()


def test_forward_passes_may_be_in_bfloat16_and_weights_stay_in_float32() -> None:
    run = finish(start(precision="bfloat16"))
    assert {value.dtype for value in run.best.values()} == {torch.float32}
    assert not equal(run.best, finish(start()).best)


def test_seeds_differ_by_each_of_their_numbers() -> None:
    combinations = [(seed, epoch, rank) for seed in range(3) for epoch in range(3) for rank in range(3)]
    assert len({seed_of(*numbers) for numbers in combinations}) == 27
    assert all(0 <= seed_of(*numbers) < 2**63 for numbers in combinations)
