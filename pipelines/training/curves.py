"""A run's figures as curves: for TensorBoard while it goes on, as a picture when it is over."""

from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from pipelines.training.history import History


class TensorBoard:
    """Event files in a folder or at a URL. Steps count from 0, epochs from 1."""

    def __init__(self, folder: str, history: History) -> None:
        """What earlier attempts wrote beyond `history` is hidden."""
        self._steps = len(history.losses)
        self._writer = SummaryWriter(folder, purge_step=self._steps, filename_suffix=f".{self._steps:09d}")

    def add(self, history: History) -> None:
        """Write the losses since the last call, and the last epoch's figures at the step they were taken."""
        for step in range(self._steps, len(history.losses)):
            self._writer.add_scalar("train/loss", history.losses[step], step)
        self._steps = len(history.losses)
        for name, value in history.epochs[-1].items():
            self._writer.add_scalar(f"dev/{name}", value, self._steps)
        self._writer.flush()

    def close(self) -> None:
        """Nothing more will be written."""
        self._writer.close()


def draw(path: Path, runs: Mapping[str, History]) -> None:
    """A picture of the runs by name: training loss by step, smoothed, and each figure on the dev rows by epoch."""
    from matplotlib.figure import Figure  # without pyplot, whose state would outlive this call

    names = list(dict.fromkeys(name for history in runs.values() for figures in history.epochs for name in figures))
    picture = Figure(figsize=(4.5 * (len(names) + 1), 3.6), layout="constrained")
    losses, *panels = picture.subplots(1, len(names) + 1, squeeze=False)[0]
    losses.set(title="loss on training rows", xlabel="epoch")
    for label, history in runs.items():
        smooth = smoothed(history.losses)
        per_epoch = len(smooth) / max(1, len(history.epochs))
        losses.plot([(step + 1) / per_epoch for step in range(len(smooth))], smooth, label=label)
    for panel, name in zip(panels, names, strict=True):
        panel.set(title=f"{name} on dev rows", xlabel="epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
        for label, history in runs.items():
            values = [figures[name] for figures in history.epochs]
            panel.plot(range(1, len(values) + 1), values, marker="o", label=label)
    losses.legend(fontsize="small")
    picture.savefig(path, dpi=120)


def smoothed(losses: list[float], keep: float = 0.9) -> list[float]:
    """The moving average in which a step counts `keep` times as much as the one behind it."""
    smooth: list[float] = []
    total, weight = 0.0, 0.0
    for loss in losses:
        total, weight = keep * total + loss, keep * weight + 1
        smooth.append(total / weight)
    return smooth
