"""A run's figures as curves: for TensorBoard while it goes on, as a picture when it is over."""

from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from pipelines.training.results import History


def write_events(folder: str, history: History) -> None:
    """An event file of the last epoch, in a folder or at a URL: whole, and hiding what stands there of it and later.

    Losses stand at their steps, which count from 0; figures at the last before they were taken.
    """
    end = len(history.losses)
    begin = end - history.steps[-1]
    with SummaryWriter(folder, purge_step=begin, filename_suffix=f".{begin:09d}") as writer:
        for step in range(begin, end):
            writer.add_scalar("train/loss", history.losses[step], step)
        for name, value in history.epochs[-1].items():
            writer.add_scalar(f"dev/{name}", value, end - 1)


def draw(path: Path, runs: Mapping[str, History]) -> None:
    """A picture of the runs by name: training loss by step, smoothed, and each figure on the dev rows by epoch."""
    from matplotlib.figure import Figure  # without pyplot, whose state would outlive this call

    names = list(dict.fromkeys(name for history in runs.values() for figures in history.epochs for name in figures))
    picture = Figure(figsize=(4.5 * (len(names) + 1), 3.6), layout="constrained")
    losses, *panels = picture.subplots(1, len(names) + 1, squeeze=False)[0]
    losses.set(title="loss on training rows", xlabel="epoch")
    for label, history in runs.items():
        smooth = smoothed(history.losses)
        losses.plot(places(history.steps), smooth, label=label)
    for panel, name in zip(panels, names, strict=True):
        panel.set(title=f"{name} on dev rows", xlabel="epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
        for label, history in runs.items():
            values = [figures[name] for figures in history.epochs]
            panel.plot(range(1, len(values) + 1), values, marker="o", label=label)
    losses.legend(fontsize="small")
    picture.savefig(path, dpi=120)


def places(steps: list[int]) -> list[float]:
    """Where each step stands on an axis of epochs, of which each has so many steps: 1.0 for the last of the first."""
    return [epoch + (step + 1) / count for epoch, count in enumerate(steps) for step in range(count)]


def smoothed(losses: list[float], keep: float = 0.9) -> list[float]:
    """The moving average in which a step counts `keep` times as much as the one behind it."""
    smooth: list[float] = []
    total, weight = 0.0, 0.0
    for loss in losses:
        total, weight = keep * total + loss, keep * weight + 1
        smooth.append(total / weight)
    return smooth
