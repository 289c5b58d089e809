import psutil
import pytest

from deployments.room import UNLIMITED, Room, reserved_resources


def on_node(monkeypatch: pytest.MonkeyPatch, cores: int, busy_percent: float) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda: cores)
    monkeypatch.setattr(psutil, "cpu_percent", lambda: busy_percent)


@pytest.mark.parametrize(
    ("cores", "busy_percent", "replicas"), [(2, 100.0, 0), (2, 80.0, 0), (4, 25.0, 2), (8, 0.0, 4), (8, 90.0, 0)]
)
def test_room_is_what_the_idle_cores_of_the_node_can_carry(
    monkeypatch: pytest.MonkeyPatch, cores: int, busy_percent: float, replicas: int
) -> None:
    on_node(monkeypatch, cores, busy_percent)
    assert Room(cores=2, reserved={"CPU": 0.05}).replicas() == replicas


@pytest.mark.parametrize("reserved", [{"CPU": 2.0}, {"CPU": 4.0}, {"CPU": 0.05, "GPU": 0.5}])
def test_a_replica_that_reserves_what_it_uses_leaves_the_room_to_ray(
    monkeypatch: pytest.MonkeyPatch, reserved: dict[str, float]
) -> None:
    on_node(monkeypatch, 2, 100.0)
    assert Room(cores=2, reserved=reserved).replicas() == UNLIMITED


def test_outside_of_ray_nothing_is_reserved() -> None:
    assert reserved_resources() == {}
