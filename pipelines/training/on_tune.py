"""A search on Ray Tune: Optuna chooses the settings, poor trials stop early, and an interrupted search continues.

Ray is imported only here, in `on_ray.py` and in `deployments/`.
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
from pipelines.training.on_ray import RunResult, absolute_storage, read_state, warn_if_waiting, write_state
from pipelines.training.results import Config, History, Trial, describe
from pipelines.training.settings import SearchSettings, TuneSettings
from pipelines.training.trainer import Trainer

GOAL = "best_so_far"
EPOCH = "training_iteration"  # Tune's count of reports; there is one per epoch
TUNE_ENVIRONMENT = {
    "TUNE_GLOBAL_CHECKPOINT_S": "1",  # how often Tune saves the state of the search
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C raises KeyboardInterrupt
    "RAY_AIR_NEW_OUTPUT": "0",  # only the old output can be turned off
}

Start = Callable[[Config], Trainer[Any]]
"""Makes the training loop of a trial; it is sent by pickle to the process of the trial and called there."""


@dataclass(frozen=True)
class SearchResult:
    """All trials that finished, and `trained`, a function that loads the history and best weights of one of them."""

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
    """Run the trials of a search. If a search of this name is in the storage, continue it.

    Optuna's TPE (Bergstra et al. 2011) samples settings from `choices` and `space`, looking for the highest `figure` of
    any epoch. Asynchronous successive halving (Li et al. 2020, https://arxiv.org/abs/1810.05934) stops poor trials.
    Raises KeyboardInterrupt if the user stops the search, RuntimeError if all trials failed.
    """
    os.environ.update(TUNE_ENVIRONMENT)
    warn_if_waiting(where.cpus_per_trial, where.gpus_per_trial)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    results = {
        _number(result.path): result for result in _tuner(name, start, figure, choices, space, seed, where).fit()
    }
    finished = {number: result for number, result in sorted(results.items()) if "epochs" in (result.metrics or {})}
    if not finished:
        raise RuntimeError("every trial failed")
    return SearchResult([_trial(*one) for one in finished.items()], lambda trial: _trained(finished[trial.number]))


def _tuner(
    name: str,
    start: Start,
    figure: str,
    choices: Mapping[str, Sequence[Any]],
    space: SearchSettings,
    seed: int,
    where: TuneSettings,
) -> Any:
    storage = absolute_storage(where.storage)
    work = tune.with_parameters(_work, start=start, figure=figure)  # puts them, with the rows, into Ray's object store
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
    """The folder name of a trial. It has the number at the start of Tune's tag, which stays when a search continues."""
    return f"trial-{trial.experiment_tag.partition('_')[0]}-{trial.trial_id}"


def _number(path: str) -> int:
    """The number of the trial in this folder, from 1."""
    return int(path.rstrip("/").rpartition("/")[2].split("-")[1])


def _domains(choices: Mapping[str, Sequence[Any]], space: SearchSettings) -> dict[str, Any]:
    return {
        **{name: tune.choice(list(values)) for name, values in choices.items()},
        "epochs": tune.randint(1, space.most_epochs + 1),
        "learning_rate": tune.loguniform(space.lowest_rate, space.highest_rate),
        "weight_decay": tune.loguniform(space.lowest_decay, space.highest_decay),
    }


def _work(config: Config, start: Start, figure: str) -> None:
    """Run a trial, continuing after its last saved epoch."""
    trainer = start(config)
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        trainer.restore(read_state(checkpoint))
    for _ in trainer.epochs():
        with TemporaryDirectory() as folder:
            write_state(folder, trainer)
            tune.report(_report(trainer.history, figure), checkpoint=tune.Checkpoint.from_directory(folder))


def _report(history: History, figure: str) -> dict[str, Any]:
    return {
        **history.epochs[-1],
        GOAL: _best_figure(history.epochs, figure),
        "epochs": history.epochs,
        "seconds": history.seconds,
    }


def _best_figure(epochs: Sequence[Figures], figure: str) -> float:
    return max(figures[figure] for figures in epochs)


def _trial(number: int, result: Any) -> Trial:
    return Trial(number, result.config, History(epochs=result.metrics["epochs"], seconds=result.metrics["seconds"]))


def _trained(result: Any) -> RunResult:
    state = read_state(result.checkpoint)
    return RunResult(History.of(state["history"]), state["best"])


class ResumableHalving(ASHAScheduler):  # type: ignore[misc]
    """Successive halving that can continue: it replays earlier results of the trials, which Tune does not save."""

    def __init__(self, figure: str, most_epochs: int, reduction: int) -> None:
        super().__init__(EPOCH, GOAL, "max", max_t=most_epochs, reduction_factor=reduction)
        self._figure = figure

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Add a trial, which is new or has results from before the search was interrupted."""
        super().on_trial_add(tune_controller, trial)
        reached: list[Figures] = trial.last_result.get("epochs", [])
        for epoch in range(1, len(reached) + 1):
            result = {EPOCH: epoch, GOAL: _best_figure(reached[:epoch], self._figure)}
            self.on_trial_result(tune_controller, trial, result)


class SearchConsole(tune.Callback):  # type: ignore[misc]
    """Progress output of a search: a bar of trials, and a line for each epoch and each finished trial."""

    def __init__(self, trials: int) -> None:
        self._trials = trials
        self._console = Console()

    def setup(self, **_: Any) -> None:
        """Show the bar when the search begins."""
        self._console.begin("search", self._trials)

    def on_trial_result(self, trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Write a line for an epoch of a trial."""
        epochs: list[Figures] = result["epochs"]
        figures = ", ".join(f"{name} {value:.4f}" for name, value in epochs[-1].items())
        self._say(trial, f"epoch {len(epochs)} of {trial.config['epochs']}: {figures}")

    def on_trial_complete(self, trials: list[Any], trial: Any, **_: Any) -> None:
        """Write a line for a trial that finished or was stopped, and advance the bar."""
        self._say(trial, f"finished: {describe(trial.config)}")
        self._console.update(sum(one.is_finished() for one in trials))

    def on_experiment_end(self, **_: Any) -> None:
        """Remove the bar when the search ends."""
        self._console.end()

    def _say(self, trial: Any, text: str) -> None:
        self._console.say(f"trial {_number(_folder(trial))} of {self._trials}: {text}")
