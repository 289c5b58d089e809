from pipelines.training.comparison import Entry, better, compare
from pipelines.training.history import History
from pipelines.training.learner import Figures


def entry(model: str, seed: int, *values: float) -> Entry:
    return Entry(model, seed, History(epochs=[{"mcc": value} for value in values]))


def key(figures: Figures) -> tuple[float, ...]:
    return (figures["mcc"],)


def test_the_table_has_a_row_for_each_model_and_a_column_for_each_epoch() -> None:
    entries = [entry("bert", 0, 0.547, 0.599), entry("albert", 0, 0.0, -0.1)]
    assert compare(entries, "mcc").splitlines() == [
        "| mcc | epoch 1 | epoch 2 |",
        "|---|---|---|",
        "| bert | 0.547 | 0.599 |",
        "| albert | 0.000 | -0.100 |",
    ]


def test_several_seeds_give_mean_and_deviation() -> None:
    entries = [entry("bert", seed, value) for seed, value in enumerate((0.5, 0.6, 0.7))]
    assert compare(entries, "mcc").splitlines()[2] == "| bert | 0.600 ± 0.100 |"


def test_a_run_that_stopped_early_leaves_the_later_cells_to_the_others() -> None:
    entries = [entry("bert", 0, 0.5, 0.6), entry("bert", 1, 0.7), entry("albert", 0, 0.1)]
    assert compare(entries, "mcc").splitlines()[2:] == [
        "| bert | 0.600 ± 0.141 | 0.600 |",
        "| albert | 0.100 |  |",
    ]


def test_runs_are_compared_by_their_best_epochs() -> None:
    high, low = entry("a", 0, 0.1, 0.6, 0.2), entry("b", 0, 0.5, 0.5, 0.5)
    assert better(high, low, key)
    assert not better(low, high, key)
    assert not better(high, high, key)
    assert better(low, None, key)
    assert better(low, entry("c", 0, float("nan")), key)
