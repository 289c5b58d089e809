from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployments import room
from deployments.room import IdleClock, Room, quota, unreserved, used_s

Tick = Callable[[float, float], None]


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tick:
    """Lets the time and the idle seconds of the cores go on; no container."""
    now = {"time": 0.0, "idle": 0.0}

    def go_on(seconds: float, idle_s: float) -> None:
        now["time"] += seconds
        now["idle"] += idle_s

    monkeypatch.setattr(room.time, "monotonic", lambda: now["time"])
    monkeypatch.setattr(room.psutil, "cpu_times", lambda: SimpleNamespace(idle=now["idle"]))
    monkeypatch.setattr(room, "CGROUP", tmp_path)
    return go_on


def test_idle_cores_are_those_since_the_last_call(tick: Tick) -> None:
    clock = IdleClock()
    tick(10.0, 15.0)
    assert clock.idle_cores() == pytest.approx(1.5)
    tick(2.0, 0.5)
    assert clock.idle_cores() == pytest.approx(0.25)


def test_without_time_between_no_core_counts_as_idle(tick: Tick) -> None:
    assert IdleClock().idle_cores() == 0.0


def test_a_container_has_no_more_idle_cores_than_its_quota_leaves(tick: Tick, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 5000000\nuser_usec 1\n")
    clock = IdleClock()
    tick(10.0, 600.0)
    (tmp_path / "cpu.stat").write_text("usage_usec 20000000\nuser_usec 1\n")
    assert clock.idle_cores() == pytest.approx(0.5)


def test_a_container_without_a_limit_has_no_quota(tick: Tick, tmp_path: Path) -> None:
    assert (quota(), used_s()) == (float("inf"), 0.0)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert quota() == float("inf")


@pytest.mark.parametrize(
    ("resources", "cores"),
    [({}, 2.0), ({"CPU": 0.05}, 2.0), ({"CPU": 1.0}, 2.0), ({"CPU": 2.0}, 0.0), ({"CPU": 0.05, "GPU": 0.5}, 0.0)],
)
def test_a_replica_with_a_gpu_or_all_its_cores_has_nothing_unreserved(
    resources: dict[str, float], cores: float
) -> None:
    assert unreserved(2.0, resources) == cores


def test_a_report_has_the_cores_the_idle_cores_and_the_node(tick: Tick, monkeypatch: pytest.MonkeyPatch) -> None:
    node = SimpleNamespace(get_assigned_resources=lambda: {"CPU": 0.05}, get_node_id=lambda: "ffffffffffffab")
    ray = SimpleNamespace(is_initialized=lambda: True, get_runtime_context=lambda: node)
    monkeypatch.setattr(room, "ray", ray)
    this = Room(2.0)
    tick(4.0, 4.0)
    assert this.report() == {"cores": 2.0, "idle_cores": pytest.approx(1.0), "node": float(2**48 - 1)}
