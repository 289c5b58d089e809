"""A search on Ray Tune: Optuna chooses, poor trials are stopped early, and what was interrupted goes on.

One of the few files that import Ray: those that train or tune, and those of `deployments/`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from pipelines.training.console import Console
from pipelines.training.learner import Figures
from pipelines.training.on_ray import RunResult, place_of, read_state, tell_of_waiting, write_state
from pipelines.training.results import Config, History, Trial, words
from pipelines.training.settings import SearchSettings, TuneSettings
from pipelines.training.trainer import Trainer

GOAL = "best_so_far"
EPOCH = "training_iteration"  # Tune counts reports, and each epoch is one
EXPERIMENT = {
    "TUNE_GLOBAL_CHECKPOINT_S": "1",  # how often Tune saves what it has: a kill costs no more
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is a KeyboardInterrupt as ever
    "RAY_AIR_NEW_OUTPUT": "0",  # the old one can be silent
}

Start = Callable[[Config], Trainer[Any]]
"""Makes the run of a trial, where it is called: it travels there by pickle."""


@dataclass(frozen=True)
class SearchResult:
    """All trials that came to an end, and how to have what one of them learnt."""

    trials: Sequence[Trial]
    trained: Callable[[Trial], RunResult]


def search(
    name: str,
    start: Start,
    figure: str,
    choices: Mapping[str, Sequence[Any]],
    space: SearchSettings,
    seed: int,
    where: TuneSettings,
) -> SearchResult:
    """Try `choices` and `space` until there are all trials, from where an earlier search of this name had come to.

    Optuna's TPE (Bergstra et al. 2011) looks for the highest `figure` of an epoch. Trials are stopped by asynchronous
    successive halving (Li et al. 2020, https://arxiv.org/abs/1810.05934). Raises KeyboardInterrupt where the user stops
    it, RuntimeError where all trials failed.
    """
    os.environ.update(EXPERIMENT)
    tell_of_waiting(where.cpus_per_trial, where.gpus_per_trial)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    results = {
        _number(result.path): result for result in _tuner(name, start, figure, choices, space, seed, where).fit()
    }
    ended = {number: result for number, result in sorted(results.items()) if "epochs" in (result.metrics or {})}
    if not ended:
        raise RuntimeError("every trial failed")
    return SearchResult([_trial(*one) for one in ended.items()], lambda trial: _trained(ended[trial.number]))


def _tuner(
    name: str,
    start: Start,
    figure: str,
    choices: Mapping[str, Sequence[Any]],
    space: SearchSettings,
    seed: int,
    where: TuneSettings,
) -> Any:
    storage = place_of(where.storage)
    work = tune.with_parameters(_work, start=start, figure=figure)  # to the object store: they hold the rows
    trainable = tune.with_resources(work, {"cpu": where.cpus_per_trial, "gpu": where.gpus_per_trial})
    if tune.Tuner.can_restore(f"{storage}/{name}"):
        return tune.Tuner.restore(f"{storage}/{name}", trainable, restart_errored=True)
    searcher = OptunaSearch(metric=GOAL, mode="max", seed=seed)
    return tune.Tuner(
        trainable,
        param_space=_domains(choices, space),
        tune_config=tune.TuneConfig(
            search_alg=ConcurrencyLimiter(searcher, max_concurrent=where.concurrent),
            scheduler=ResumableHalving(figure, space.most_epochs, space.reduction),
            num_samples=space.trials,
            trial_dirname_creator=_folder,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=storage,
            failure_config=tune.FailureConfig(max_failures=where.max_failures),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            callbacks=[SearchConsole(space.trials)],
            verbose=0,
        ),
    )


def _folder(trial: Any) -> str:
    """Of a trial: its number, which Tune keeps in front of the tag, while a search that goes on reorders its trials."""
    return f"trial-{trial.experiment_tag.partition('_')[0]}-{trial.trial_id}"


def _number(path: str) -> int:
    """Of the trial in that folder, from 1."""
    return int(path.rstrip("/").rpartition("/")[2].split("-")[1])


def _domains(choices: Mapping[str, Sequence[Any]], space: SearchSettings) -> dict[str, Any]:
    return {
        **{name: tune.choice(list(values)) for name, values in choices.items()},
        "epochs": tune.randint(1, space.most_epochs + 1),
        "learning_rate": tune.loguniform(space.lowest_rate, space.highest_rate),
        "weight_decay": tune.loguniform(space.lowest_decay, space.highest_decay),
    }


def _work(config: Config, start: Start, figure: str) -> None:
    """What a trial does, from its last epoch if it did some before."""
    run = start(config)
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        run.restore(read_state(checkpoint))
    for _ in run.epochs():
        with TemporaryDirectory() as folder:
            write_state(folder, run)
            tune.report(_report(run.history, figure), checkpoint=tune.Checkpoint.from_directory(folder))


def _report(history: History, figure: str) -> dict[str, Any]:
    return {
        **history.epochs[-1],
        GOAL: _highest(history.epochs, figure),
        "epochs": history.epochs,
        "seconds": history.seconds,
    }


def _highest(epochs: Sequence[Figures], figure: str) -> float:
    return max(figures[figure] for figures in epochs)


def _trial(number: int, result: Any) -> Trial:
    return Trial(number, result.config, History(epochs=result.metrics["epochs"], seconds=result.metrics["seconds"]))


def _trained(result: Any) -> RunResult:
    state = read_state(result.checkpoint)
    return RunResult(History.of(state["history"]), state["best"])


class ResumableHalving(ASHAScheduler):  # type: ignore[misc]
    """Successive halving that knows, when a search goes on, what its trials had come to: Tune does not save that."""

    def __init__(self, figure: str, most_epochs: int, reduction: int) -> None:
        super().__init__(EPOCH, GOAL, "max", max_t=most_epochs, reduction_factor=reduction)
        self._figure = figure

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """The trial is new, or was in the search before."""
        super().on_trial_add(tune_controller, trial)
        reached: list[Figures] = trial.last_result.get("epochs", [])
        for epoch in range(1, len(reached) + 1):
            result = {EPOCH: epoch, GOAL: _highest(reached[:epoch], self._figure)}
            self.on_trial_result(tune_controller, trial, result)


class SearchConsole(tune.Callback):  # type: ignore[misc]
    """What the user sees: a bar of trials, and a line for each epoch and for each trial that is over."""

    def __init__(self, trials: int) -> None:
        self._trials = trials
        self._console = Console()

    def setup(self, **_: Any) -> None:
        """The search begins."""
        self._console.begin("search", self._trials)

    def on_trial_result(self, trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A trial has done an epoch."""
        epochs: list[Figures] = result["epochs"]
        figures = ", ".join(f"{name} {value:.4f}" for name, value in epochs[-1].items())
        self._say(trial, f"epoch {len(epochs)} of {trial.config['epochs']}: {figures}")

    def on_trial_complete(self, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial is over, or stopped."""
        self._say(trial, f"over, {words(trial.config)}")
        self._console.at(sum(one.is_finished() for one in trials))

    def on_experiment_end(self, **_: Any) -> None:
        """The search is over."""
        self._console.end()

    def _say(self, trial: Any, text: str) -> None:
        self._console.say(f"trial {_number(_folder(trial))} of {self._trials}: {text}")
