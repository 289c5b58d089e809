import sys

import pytest

from benchmarks.run import parse


def test_a_quick_run_has_one_round_with_the_shipped_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "--quick"])
    assert (parse().models, parse().rounds, parse().shares) == (["shipped"], 1, [])


def test_a_quick_run_can_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "--quick", "--rounds", "2"])
    assert (parse().models, parse().rounds) == (["shipped"], 2)
