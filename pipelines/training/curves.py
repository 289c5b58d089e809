"""Curves of the losses and figures of a run: for TensorBoard during the run, as a picture at its end."""

from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from pipelines.training.results import History


def write_events(folder: str, history: History) -> None:
    """Write a TensorBoard event file of the last epoch to a folder or URL.

    TensorBoard then ignores earlier records of this epoch and of later ones. A loss is recorded at its step, which
    counts from 0, and a figure at the last step of its epoch.
    """
    end = len(history.losses)
    begin = end - history.steps[-1]
    with SummaryWriter(folder, purge_step=begin, filename_suffix=f".{begin:09d}") as writer:
        for step in range(begin, end):
            writer.add_scalar("train/loss", history.losses[step], step)
        for name, value in history.epochs[-1].items():
            writer.add_scalar(f"dev/{name}", value, end - 1)


def draw(path: Path, runs: Mapping[str, History]) -> None:
    """Draw runs, by name: the smoothed training loss by step, and each figure on the dev rows by epoch."""
    from matplotlib.figure import Figure  # not pyplot, which keeps global state

    names = list(dict.fromkeys(name for history in runs.values() for figures in history.epochs for name in figures))
    picture = Figure(figsize=(4.5 * (len(names) + 1), 3.6), layout="constrained")
    losses, *panels = picture.subplots(1, len(names) + 1, squeeze=False)[0]
    losses.set(title="loss on training rows", xlabel="epoch")
    for label, history in runs.items():
        smooth = smoothed(history.losses)
        losses.plot(epoch_positions(history.steps), smooth, label=label)
    for panel, name in zip(panels, names, strict=True):
        panel.set(title=f"{name} on dev rows", xlabel="epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
        for label, history in runs.items():
            values = [figures[name] for figures in history.epochs]
            panel.plot(range(1, len(values) + 1), values, marker="o", label=label)
    losses.legend(fontsize="small")
    picture.savefig(path, dpi=120)


def epoch_positions(steps: list[int]) -> list[float]:
    """The position of each step on an axis of epochs, given the steps per epoch: the last step of epoch 1 is at 1.0."""
    return [epoch + (step + 1) / count for epoch, count in enumerate(steps) for step in range(count)]


def smoothed(losses: list[float], keep: float = 0.9) -> list[float]:
    """The exponential moving average, in which each step has `keep` times the weight of the step after it."""
    smooth: list[float] = []
    total, weight = 0.0, 0.0
    for loss in losses:
        total, weight = keep * total + loss, keep * weight + 1
        smooth.append(total / weight)
    return smooth
