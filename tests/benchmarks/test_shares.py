import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from benchmarks.shares import ask_on, cpu_of_all, elsewhere, report, sample
from benchmarks.watch import Life, Watch


class Times(NamedTuple):
    user: float
    idle: float
    iowait: float
    steal: float
    guest: float
    guest_nice: float


def life(name: str, cpu_s: float) -> Life:
    return Life(psutil.Process(), 0.0, name, cpu_s)


def test_each_process_has_its_milliseconds_per_answer(capsys: pytest.CaptureFixture[str]) -> None:
    ingress, encoder = life("Ingress", 1.0), life("StsEncoder", 2.0)
    report({ingress: 1.0, encoder: 2.0}, {ingress: 2.0, encoder: 5.0, life("new", 0.0): 0.0}, 100, 10.0, {"idle": 0.5})
    load, *processes = map(json.loads, capsys.readouterr().out.splitlines())
    assert load == {"pairs_per_s": 10.0, "cpu_ms": 40.0, "idle": 0.5}
    assert processes[0] == {"process": "StsEncoder", "cpu_ms": 30.0, "share": 0.75}
    assert processes[1] == {"process": "Ingress", "cpu_ms": 10.0, "share": 0.25}


def test_time_that_is_not_of_the_server_is_idle_stolen_or_of_others() -> None:
    server = life("server", 0.0)
    began, ended = Times(0, 0, 0, 0, 0, 0), Times(user=6, idle=1, iowait=1, steal=2, guest=0, guest_nice=0)
    assert elsewhere(began, ended, {server: 0.0}, {server: 4.0}) == pytest.approx(
        {"idle": 0.2, "stolen": 0.2, "others": 0.2}
    )


def test_answers_are_counted_by_second(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def __init__(self) -> None:
            self.times: Iterator[float] = iter([5.1, 5.9, 6.0])

        async def score(self, pair: object) -> float:
            if (now := next(self.times, None)) is None:
                raise asyncio.CancelledError
            monkeypatch.setattr("time.monotonic", lambda: now)
            return 0.5

    answered: Counter[int] = Counter()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ask_on(Client(), iter([("a", "b")] * 4), answered))  # type: ignore[arg-type]
    assert answered == {5: 2, 6: 1}


def test_the_client_is_among_the_processes() -> None:
    class Alone:
        def members(self) -> list[psutil.Process]:
            return []

    (only,) = cpu_of_all(Watch(Alone()))  # type: ignore[arg-type]
    assert only.name == "client"
    assert only.cpu_s > 0


def test_a_flame_graph_is_made_of_each_busy_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    busy, idle = life("ray::ServeReplica:munjang:StsEncoder", 9.0), life("raylet", 0.1)
    sample({busy: 0.0, idle: 0.0}, {busy: 9.0, idle: 0.1}, tmp_path / "graphs")
    (command,) = commands
    assert command[-1] == str(tmp_path / "graphs" / "ray-ServeReplica-munjang-StsEncoder.svg")
    assert command[command.index("--pid") + 1] == str(psutil.Process().pid)


def test_py_spy_is_asked_for_before_a_server_starts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.shares", "checkpoint", "--flame-graphs", str(tmp_path)]
    ended = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "py-spy is not installed" in ended.stderr
