from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.training.learner import Figures, comparable
from pipelines.training.results import (
    History,
    RunHistory,
    Trial,
    better,
    compare,
    describe,
    draw_trials,
    tabulate,
    winner,
)


def test_nan_is_below_all_other_figures() -> None:
    assert comparable((nan, 1.0)) == (-inf, 1.0)
    assert comparable((nan,)) < comparable((-1e9,))


def test_the_first_of_equal_epochs_is_the_best() -> None:
    history = History(epochs=[{"f1": value} for value in (nan, 0.5, 0.7, 0.7, nan)])
    assert history.best(lambda figures: (figures["f1"],)) == 2


def test_a_run_with_only_nan_figures_has_a_best_epoch() -> None:
    assert History(epochs=[{"f1": nan}, {"f1": nan}]).best(lambda figures: (figures["f1"],)) == 0


def test_a_history_is_restored_from_its_dict() -> None:
    history = History([0.5, 0.25], [{"f1": 0.1}], [1.5])
    assert History.of(history.as_dict()) == history


def entry(model: str, seed: int, *values: float) -> RunHistory:
    return RunHistory(model, seed, History(epochs=[{"mcc": value} for value in values]))


def sort_key(figures: Figures) -> tuple[float, ...]:
    return (figures["mcc"],)


def test_the_table_has_a_row_for_each_model_and_a_column_for_each_epoch() -> None:
    entries = [entry("bert", 0, 0.547, 0.599), entry("albert", 0, 0.0, -0.1)]
    assert compare(entries, "mcc").splitlines() == [
        "| mcc | epoch 1 | epoch 2 |",
        "|---|---|---|",
        "| bert | 0.547 | 0.599 |",
        "| albert | 0.000 | -0.100 |",
    ]


def test_the_table_shows_mean_and_deviation_over_several_seeds() -> None:
    entries = [entry("bert", seed, value) for seed, value in enumerate((0.5, 0.6, 0.7))]
    assert compare(entries, "mcc").splitlines()[2] == "| bert | 0.600 ± 0.100 |"


def test_a_run_that_stopped_early_does_not_count_in_later_epochs() -> None:
    entries = [entry("bert", 0, 0.5, 0.6), entry("bert", 1, 0.7), entry("albert", 0, 0.1)]
    assert compare(entries, "mcc").splitlines()[2:] == [
        "| bert | 0.600 ± 0.141 | 0.600 |",
        "| albert | 0.100 |  |",
    ]


def test_runs_are_compared_by_their_best_epochs() -> None:
    high, low = entry("a", 0, 0.1, 0.6, 0.2), entry("b", 0, 0.5, 0.5, 0.5)
    assert better(high, low, sort_key)
    assert not better(low, high, sort_key)
    assert not better(high, high, sort_key)
    assert better(low, None, sort_key)
    assert better(low, entry("c", 0, float("nan")), sort_key)


def f1_key(figures: Figures) -> tuple[float, ...]:
    return figures["f1"], -figures["loss"]


def trial(number: int, *epochs: tuple[float, float], **config: Any) -> Trial:
    chosen = {"model": "bert", "epochs": len(epochs), "learning_rate": 10.0**-number, **config}
    return Trial(number, chosen, History(epochs=[{"f1": f1, "loss": loss} for f1, loss in epochs]))


TRIALS = [
    trial(1, (0.5, 0.4), (0.8, 0.3)),
    trial(2, (0.8, 0.2), (0.1, 0.9), model="owner/roberta"),
    trial(3, (0.8, 0.2), epochs=4),
    trial(4, (nan, nan)),
]


def test_the_winner_has_the_best_epoch_and_is_the_first_of_equal_trials() -> None:
    assert winner(TRIALS, f1_key).number == 2
    assert winner(TRIALS[::-1], f1_key).number == 2
    assert winner([TRIALS[3]], f1_key).number == 4


def test_the_table_begins_with_the_best_trial_and_marks_stopped_ones() -> None:
    head, _, *rows = tabulate(TRIALS, f1_key).splitlines()
    assert head == "| trial | model | epochs | learning_rate | epochs done | f1 | loss |"
    assert rows == [
        "| 2 | owner/roberta | 2 | 0.01 | 2 | 0.8000 | 0.2000 |",
        "| 3 | bert | 4 | 0.001 | 1, stopped | 0.8000 | 0.2000 |",
        "| 1 | bert | 2 | 0.1 | 2 | 0.8000 | 0.3000 |",
        "| 4 | bert | 1 | 0.0001 | 1 | nan | nan |",
    ]


@pytest.mark.parametrize(("count", "panels"), [(4, 4), (1, 1)])
def test_the_picture_has_a_panel_for_each_setting_that_differs(count: int, panels: int, tmp_path: Path) -> None:
    draw_trials(tmp_path / "trials.png", TRIALS[:count], "f1", f1_key)
    with Image.open(tmp_path / "trials.png") as picture:
        assert (picture.format, picture.width / picture.height) == ("PNG", pytest.approx(panels * 4 / 3.6, rel=0.01))
        assert len(picture.getcolors(1 << 24) or []) > 10


def test_chosen_settings_are_described_in_one_line() -> None:
    assert (
        describe({"model": "bert", "epochs": 3, "learning_rate": 5.04e-5})
        == "model bert, epochs 3, learning_rate 5.04e-05"
    )
