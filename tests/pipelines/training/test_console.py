from typing import Any

import pytest
from tqdm import tqdm

from pipelines.training.console import Console, DistantBar, silent


class Told:
    def __init__(self) -> None:
        self.messages: list[tuple[str, tuple[Any, ...]]] = []

    def __call__(self, method: str, arguments: tuple[Any, ...]) -> None:
        self.messages.append((method, arguments))


def test_a_distant_bar_begins_and_ends_and_does_not_tell_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    bar = DistantBar(told, total=1000, desc="epoch 1 of 2", unit="step")
    for _ in range(1000):
        bar.update()
    bar.close()
    assert told.messages[0] == ("begin", ("epoch 1 of 2", 1000))
    assert told.messages[-1] == ("end", ())
    assert len(told.messages) < 100


def test_a_distant_bar_tells_how_many_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DistantBar, "EVERY_S", 0.0)
    told = Told()
    bar = DistantBar(told, total=3, desc="epoch 1 of 2")
    bar.update()
    bar.update(2)
    assert told.messages[1:] == [("at", (1,)), ("at", (3,))]


def test_the_console_shows_what_it_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    console, steps = Console(), []
    monkeypatch.setattr(tqdm, "update", lambda _, n: steps.append(n))
    for method, arguments in [("at", (1,)), ("begin", ("epoch 1", 10)), ("at", (4,)), ("say", ("done",)), ("end", ())]:
        getattr(console, method)(*arguments)
    assert capsys.readouterr().out == "done\n"
    assert steps == [4]


def test_where_nobody_looks_nothing_is_told() -> None:
    bar = DistantBar(silent, total=1, desc="epoch 1")
    bar.update()
    bar.close()
