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
    worker: Worker | None = None,
    stages: Sequence[Stage[float]] = (Stage.of(TRAIN),),
    **changes: Any,
) -> Trainer[float]:
    torch.set_num_threads(1)
    return Trainer(load, stages, DEV, SETTINGS.model_copy(update=changes), worker)


def finish(trainer: Trainer[float]) -> Trainer[float]:
    for _ in trainer.epochs():
        pass
    return trainer


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_run_learns_and_measures_every_epoch() -> None:
    trainer = finish(start())
    assert [set(figures) for figures in trainer.history.epochs] == [{"accuracy", "loss"}] * 4
    assert trainer.history.epochs[-1]["accuracy"] > 0.9
    assert len(trainer.history.losses) == sum(trainer.history.steps) == STEPS == 28
    assert trainer.done


def test_the_same_seed_gives_the_same_weights_and_another_seed_different_ones() -> None:
    load = partial(NumbersLearner, 0.3)
    first, second, other = (finish(start(load, seed=seed)) for seed in (1, 1, 2))
    assert equal(first.best, second.best)
    assert first.history.losses == second.history.losses
    assert not equal(first.best, other.best)


@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_resumed_run_ends_with_the_weights_of_a_run_that_never_stopped(before: int, tmp_path: Path) -> None:
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


def test_the_state_of_a_finished_run_holds_only_history_and_best_weights(tmp_path: Path) -> None:
    trainer = finish(start())
    assert set(trainer.state()) == {"history", "best"}
    again = start()
    again.restore(trainer.state())
    assert again.done
    assert list(again.epochs()) == []
    assert equal(again.best, trainer.best)


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    class WorseAndWorse(NumbersLearner):
        def sort_key(self, figures: dict[str, float]) -> tuple[float, ...]:
            return (-figures["accuracy"], figures["loss"])

    trainer = start(WorseAndWorse)
    states = [
        {name: value.clone() for name, value in trainer.learner.model.state_dict().items()} for _ in trainer.epochs()
    ]
    best = trainer.history.best(trainer.learner.sort_key)
    assert best < len(states) - 1
    assert equal(trainer.best, states[best])


def test_every_epoch_has_each_row_once_in_another_order() -> None:
    trainer = start()
    orders = [[row for batch in trainer._batches(epoch) for row in batch] for epoch in range(3)]
    assert all(sorted(order) == TRAIN for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_batches_and_steps_consist_of_unfolded_rows() -> None:
    class Halves(NumbersLearner):
        def unfold(self, rows: Sequence[float]) -> list[float]:
            return [half for row in rows for half in (row / 2, row / 2 + 0.5)]

    trainer = start(Halves)
    epoch = trainer._batches(0)
    assert sorted(half for batch in epoch for half in batch) == sorted(Halves().unfold(TRAIN))
    assert sorted(map(len, epoch)) == [4, *[SETTINGS.batch_size] * 12]
    assert len(finish(trainer).history.losses) == SETTINGS.epochs * len(epoch) == 4 * 13


def test_stages_are_trained_in_order_and_the_schedule_spans_all_of_them() -> None:
    stages = [Stage.of(TRAIN[:10]), Stage([Source(TRAIN[10:20]), Source(TRAIN[20:], weight=0.5)])]
    trainer = start(stages=stages, earlier_epochs=2, epochs=3)
    seen = [sorted(row for batch in trainer._batches(epoch) for row in batch) for epoch in range(5)]
    assert seen[:2] == [TRAIN[:10]] * 2
    assert all(set(TRAIN[10:20]) < set(epoch) < set(TRAIN[10:]) and len(epoch) == 25 for epoch in seen[2:])
    assert len({tuple(epoch) for epoch in seen[2:]}) == 3
    finish(trainer)
    assert trainer.history.steps == [2, 2, 4, 4, 4]
    assert trainer._schedule.get_last_lr()[0] == 0  # the linear schedule ends after the last step


def test_a_resumed_run_of_several_stages_ends_like_one_that_never_stopped(tmp_path: Path) -> None:
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
def test_gradient_accumulation_gives_the_same_weights_as_whole_batches(parts: int) -> None:
    whole, in_parts = finish(start()), finish(start(accumulation=parts))
    torch.testing.assert_close(in_parts.best, whole.best)
    torch.testing.assert_close(in_parts.history.losses, whole.history.losses)


def test_a_run_stops_when_its_patience_is_used_up_and_keeps_the_best_epoch() -> None:
    class WorseAndWorse(NumbersLearner):
        def sort_key(self, figures: dict[str, float]) -> tuple[float, ...]:
            return (-figures["accuracy"], figures["loss"])

    trainer = finish(start(WorseAndWorse, patience=2, epochs=40))
    best = trainer.history.best(trainer.learner.sort_key)
    assert len(trainer.history.epochs) == best + 1 + 2 < 40
    again = start(WorseAndWorse, patience=2, epochs=40)
    again.restore(trainer.state())
    assert again.done


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_weights_of_the_best_or_the_last_epoch_are_kept(keep: str) -> None:
    class FirstIsBest(NumbersLearner):
        def sort_key(self, figures: dict[str, float]) -> tuple[float, ...]:
            return (figures["loss"],)

    trainer = finish(start(FirstIsBest, keep=keep, epochs=3))
    assert trainer.history.best(trainer.learner.sort_key) == 0
    assert equal(trainer.best, trainer.learner.model.state_dict()) == (keep == "last")


def test_patience_counts_only_epochs_of_the_last_stage() -> None:
    trainer = start(stages=[Stage.of(TRAIN)] * 3, earlier_epochs=3, epochs=1, patience=1)
    assert len(finish(trainer).history.epochs) == 7


@pytest.mark.slow
def test_two_processes_compute_the_same_result_as_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_train_rank, args=(2, tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    alone = finish(
        start(batch_size=7, accumulation=2)
    )  # of 50 rows, the last batch has one row, and one process has no share of it
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["history"] == second["history"]
    torch.testing.assert_close(first["best"], alone.best)
    torch.testing.assert_close(first["history"]["losses"], alone.history.losses)
    assert first["history"]["epochs"][-1] == pytest.approx(alone.history.epochs[-1], abs=1e-5)
    assert second["best"] == {}


def _train_rank(rank: int, world: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world)
    trainer = finish(start(worker=Worker(rank, world), batch_size=7, accumulation=2))
    state = trainer.state()
    del state["history"]["seconds"]
    torch.save(state, folder / f"{rank}.pt")
    del trainer
    gc.collect()  # frees the users of the group first; otherwise destroying it can deadlock on the GIL
    dist.destroy_process_group()


def test_with_bfloat16_forward_passes_weights_stay_float32() -> None:
    trainer = finish(start(precision="bfloat16"))
    assert {value.dtype for value in trainer.best.values()} == {torch.float32}
    assert not equal(trainer.best, finish(start()).best)


def test_seeds_differ_for_all_combinations_of_numbers() -> None:
    combinations = [(seed, epoch, rank) for seed in range(3) for epoch in range(3) for rank in range(3)]
    assert len({seed_of(*numbers) for numbers in combinations}) == 27
    assert all(0 <= seed_of(*numbers) < 2**63 for numbers in combinations)
