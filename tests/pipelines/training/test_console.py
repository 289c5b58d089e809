from typing import Any

import pytest
import torch
from tqdm import tqdm

from pipelines.training.console import Console, DistantProgress, silent

LOSS = torch.tensor(0.25)


class RecordedCalls:
    def __init__(self) -> None:
        self.messages: list[tuple[str, tuple[Any, ...]]] = []

    def __call__(self, method: str, arguments: tuple[Any, ...]) -> None:
        self.messages.append((method, arguments))


def test_a_distant_bar_begins_and_ends_and_does_not_send_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = RecordedCalls()
    bar = DistantProgress(calls, 1000, "epoch 1 of 2")
    for _ in range(1000):
        bar.step(LOSS)
    bar.close()
    assert calls.messages[0] == ("begin", ("epoch 1 of 2", 1000))
    assert calls.messages[-1] == ("end", ())
    assert len(calls.messages) < 100


def test_a_distant_bar_sends_the_number_of_steps_and_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DistantProgress, "EVERY_S", 0.0)
    calls = RecordedCalls()
    bar = DistantProgress(calls, 3, "epoch 1 of 2")
    bar.step(LOSS)
    bar.step(LOSS)
    assert calls.messages[1:] == [("update", (1, 0.25)), ("update", (2, 0.25))]


def test_the_console_writes_lines_and_advances_its_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    console, steps = Console(), []
    monkeypatch.setattr(tqdm, "update", lambda _, n: steps.append(n))
    for method, arguments in [
        ("update", (1,)),
        ("begin", ("epoch 1", 10)),
        ("update", (4,)),
        ("say", ("done",)),
        ("end", ()),
    ]:
        getattr(console, method)(*arguments)
    assert capsys.readouterr().out == "done\n"
    assert steps == [4]


def test_without_a_terminal_a_line_is_written_every_30_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 0.0
    monkeypatch.setattr("pipelines.training.console.time.monotonic", lambda: now_s)
    console = Console()
    console.begin("epoch 1 of 2", 300)
    for second in range(1, 101):
        now_s = float(second)
        console.update(second, 1 / second)
    console.end()
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1 of 2: step 30 of 300, loss 0.0333, 04:30 left",
        "epoch 1 of 2: step 60 of 300, loss 0.0167, 04:00 left",
        "epoch 1 of 2: step 90 of 300, loss 0.0111, 03:30 left",
    ]


def test_progress_can_be_discarded() -> None:
    bar = DistantProgress(silent, 1, "epoch 1")
    bar.step(LOSS)
    bar.close()
