from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from pipelines.training.curves import draw, epoch_positions, smoothed, write_events
from pipelines.training.results import History


def events(folder: Path) -> list[Event]:
    """The events of all files, in the order of writing. A record is a length, a checksum, the event and a checksum."""
    found = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            length = int.from_bytes(content[:8], "little")
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """(name, step, value) of all scalars that no later start event hides."""
    kept: list[tuple[str, int, float]] = []
    for event in events(folder):
        if event.session_log.status == event.session_log.START:
            kept = [one for one in kept if one[1] < event.step]
        kept += [(value.tag, event.step, round(value.simple_value, 4)) for value in event.summary.value]
    return kept


def test_losses_are_at_their_steps_and_figures_at_the_last_step_of_their_epoch(tmp_path: Path) -> None:
    history = History()
    for epoch in range(2):
        history.losses += [0.5 - epoch, 0.25]
        history.epochs.append({"f1": 0.1 + epoch})
        history.steps.append(2)
        write_events(str(tmp_path), history)
    losses = [("train/loss", step, value) for step, value in enumerate([0.5, 0.25, -0.5, 0.25])]
    assert scalars(tmp_path) == [*losses[:2], ("dev/f1", 1, 0.1), *losses[2:], ("dev/f1", 3, 1.1)]


def test_events_of_a_lost_epoch_are_hidden_when_it_is_repeated(tmp_path: Path) -> None:
    write_events(str(tmp_path), History([0.5], [{"f1": 0.1}], steps=[1]))
    write_events(str(tmp_path), History([0.5, 0.9], [{"f1": 0.1}, {"f1": 0.9}], steps=[1, 1]))
    (tmp_path / "events.out.tfevents.1.lost").write_bytes((lost := max(tmp_path.iterdir())).read_bytes())
    lost.unlink()  # renamed, since files of the same second and step have the same name
    write_events(str(tmp_path), History([0.5, 0.25], [{"f1": 0.1}, {"f1": 0.2}], steps=[1, 1]))
    losses = [one for one in scalars(tmp_path) if one[0] == "train/loss"]
    assert losses == [("train/loss", 0, 0.5), ("train/loss", 1, 0.25)]


@pytest.mark.parametrize("runs", [1, 3])
def test_curves_are_a_picture_with_a_panel_for_the_loss_and_each_figure(runs: int, tmp_path: Path) -> None:
    epochs = [{"f1": 0.1, "loss": 0.7}, {"f1": 0.3, "loss": float("nan")}]
    history = History([0.7, 0.6, 0.5, 0.4], epochs, steps=[3, 1])
    draw(tmp_path / "curves.png", {f"run {number}": history for number in range(runs)})
    with Image.open(tmp_path / "curves.png") as picture:
        assert (picture.format, picture.width / picture.height) == ("PNG", pytest.approx(3 * 4.5 / 3.6, rel=0.01))
        assert len(picture.getcolors(1 << 24) or []) > 10


def test_every_epoch_has_the_same_width_on_the_axis() -> None:
    assert epoch_positions([2, 4]) == [0.5, 1.0, 1.25, 1.5, 1.75, 2.0]


@given(st.lists(st.floats(-10, 10)))
def test_smoothing_keeps_length_and_bounds(losses: list[float]) -> None:
    smooth = smoothed(losses)
    assert len(smooth) == len(losses)
    assert all(min(losses) - 1e-9 <= value <= max(losses) + 1e-9 for value in smooth)
    assert smooth[:1] == losses[:1]
