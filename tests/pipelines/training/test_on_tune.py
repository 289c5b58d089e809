"""The parts of a search, without a cluster; `tests/pipelines/sts/test_tune.py` runs a whole search."""

import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.training.on_tune import GOAL, ResumableHalving, SearchConsole, _domains
from pipelines.training.settings import SearchSettings

CONTINUE, STOP = "CONTINUE", "STOP"


def trial(name: str, *f1_scores: float) -> Any:
    """A trial as Tune passes it: a new one, or one with the F1 of earlier epochs."""
    reached = {"epochs": [{"f1": f1} for f1 in f1_scores], GOAL: max(f1_scores)} if f1_scores else {}
    return SimpleNamespace(
        trial_id=name,
        experiment_tag=f"{'.ab'.find(name)}_epochs=4",
        last_result=reached,
        config={"epochs": 4},
        is_finished=lambda: True,
    )


def result(epoch: int, f1: float) -> dict[str, Any]:
    return {"training_iteration": epoch, GOAL: f1}


@pytest.mark.parametrize("restarted", [False, True])
def test_the_worse_half_is_stopped_with_and_without_a_restart(restarted: bool) -> None:
    halving = ResumableHalving("f1", 4, 2)
    if restarted:
        for name, f1 in (("a", 0.2), ("b", 0.8)):
            halving.on_trial_add(None, trial(name, f1, 0.9))
    else:
        for name, f1 in (("a", 0.2), ("b", 0.8)):
            halving.on_trial_add(None, trial(name))
            halving.on_trial_result(None, trial(name), result(1, f1))
    for name, f1, decision in (("c", 0.6, CONTINUE), ("d", 0.4, STOP), ("e", 0.9, CONTINUE)):
        halving.on_trial_add(None, trial(name))
        assert halving.on_trial_result(None, trial(name), result(1, f1)) == decision


def test_equal_trials_are_not_stopped() -> None:
    halving = ResumableHalving("f1", 4, 2)
    for name in "abcd":
        halving.on_trial_add(None, trial(name))
        assert halving.on_trial_result(None, trial(name), result(1, 0.5)) == CONTINUE


def test_the_default_search_space() -> None:
    domains = _domains({"model": ["a", "b"], "batch_size": (16, 32, 64)}, SearchSettings())
    assert domains["model"].categories == ["a", "b"]
    assert domains["batch_size"].categories == [16, 32, 64]
    assert (domains["epochs"].lower, domains["epochs"].upper) == (1, 5)  # the upper bound is exclusive
    assert (domains["learning_rate"].lower, domains["learning_rate"].upper) == (1e-6, 1e-2)
    assert (domains["weight_decay"].lower, domains["weight_decay"].upper) == (4e-5, 1e-3)
    assert all("LogUniform" in type(domains[name].get_sampler()).__name__ for name in ("learning_rate", "weight_decay"))


def test_the_console_of_a_search_can_be_pickled_and_reports_trials(capsys: pytest.CaptureFixture[str]) -> None:
    console: SearchConsole = pickle.loads(pickle.dumps(SearchConsole(2)))
    trials = [trial("a", 0.5), trial("b", 0.25, 0.75)]
    console.setup()
    console.on_trial_result(trials=trials, trial=trials[1], result=trials[1].last_result, iteration=3)
    console.on_trial_complete(trials=trials, trial=trials[1], iteration=3)
    console.on_experiment_end(trials=trials)
    assert capsys.readouterr().out.splitlines() == [
        "trial 2 of 2: epoch 2 of 4: f1 0.7500",
        "trial 2 of 2: finished: epochs 4",
    ]
