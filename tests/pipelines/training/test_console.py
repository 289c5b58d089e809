from typing import Any

import pytest
import torch
from tqdm import tqdm

from pipelines.training.console import Console, DistantProgress, silent

LOSS = torch.tensor(0.25)


class Told:
    def __init__(self) -> None:
        self.messages: list[tuple[str, tuple[Any, ...]]] = []

    def __call__(self, method: str, arguments: tuple[Any, ...]) -> None:
        self.messages.append((method, arguments))


def test_a_distant_bar_begins_and_ends_and_does_not_tell_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    bar = DistantProgress(told, 1000, "epoch 1 of 2")
    for _ in range(1000):
        bar.step(LOSS)
    bar.close()
    assert told.messages[0] == ("begin", ("epoch 1 of 2", 1000))
    assert told.messages[-1] == ("end", ())
    assert len(told.messages) < 100


def test_a_distant_bar_tells_how_many_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DistantProgress, "EVERY_S", 0.0)
    told = Told()
    bar = DistantProgress(told, 3, "epoch 1 of 2")
    bar.step(LOSS)
    bar.step(LOSS)
    assert told.messages[1:] == [("at", (1, 0.25)), ("at", (2, 0.25))]


def test_the_console_shows_what_it_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    console, steps = Console(), []
    monkeypatch.setattr(tqdm, "update", lambda _, n: steps.append(n))
    for method, arguments in [("at", (1,)), ("begin", ("epoch 1", 10)), ("at", (4,)), ("say", ("done",)), ("end", ())]:
        getattr(console, method)(*arguments)
    assert capsys.readouterr().out == "done\n"
    assert steps == [4]


def test_where_there_is_no_terminal_a_line_says_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 0.0
    monkeypatch.setattr("pipelines.training.console.time.monotonic", lambda: now_s)
    console = Console()
    console.begin("epoch 1 of 2", 300)
    for second in range(1, 101):
        now_s = float(second)
        console.at(second, 1 / second)
    console.end()
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1 of 2: step 30 of 300, loss 0.0333, 04:30 left",
        "epoch 1 of 2: step 60 of 300, loss 0.0167, 04:00 left",
        "epoch 1 of 2: step 90 of 300, loss 0.0111, 03:30 left",
    ]


def test_where_nobody_looks_nothing_is_told() -> None:
    bar = DistantProgress(silent, 1, "epoch 1")
    bar.step(LOSS)
    bar.close()
