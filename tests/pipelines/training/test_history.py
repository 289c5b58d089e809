from math import inf, nan

from pipelines.training.history import History
from pipelines.training.learner import comparable


def test_a_figure_that_is_no_number_is_below_all_others() -> None:
    assert comparable((nan, 1.0)) == (-inf, 1.0)
    assert comparable((nan,)) < comparable((-1e9,))


def test_the_first_of_equal_epochs_is_the_best() -> None:
    history = History(epochs=[{"f1": value} for value in (nan, 0.5, 0.7, 0.7, nan)])
    assert history.best(lambda figures: (figures["f1"],)) == 2


def test_a_run_that_diverged_at_once_still_has_a_best_epoch() -> None:
    assert History(epochs=[{"f1": nan}, {"f1": nan}]).best(lambda figures: (figures["f1"],)) == 0


def test_a_history_survives_being_a_dict() -> None:
    history = History([0.5, 0.25], [{"f1": 0.1}], [1.5])
    assert History.of(history.as_dict()) == history
