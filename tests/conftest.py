"""What all tests share: tiny checkpoints, made once, and no way out of the process by accident."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Read when huggingface_hub is imported: a test that forgot its loopback hub fails instead of downloading.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from hypothesis import HealthCheck, settings

# A machine that is busy fails no test.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

SERVE = Path(__file__).parent / "serve"

MakeCheckpoint = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _no_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Outside tests/serve, starting Ray is an error."""
    if request.path.is_relative_to(SERVE):
        yield
        return

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a test outside tests/serve starts Ray")

    if "ray" in sys.modules:
        monkeypatch.setattr(sys.modules["ray"], "init", refuse)
    yield
    ray = sys.modules.get("ray")
    assert ray is None or not ray.is_initialized()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """By kind, the folder of a tiny checkpoint as its library saves it. Not to be written to: tests share it."""
    from tests.checkpoint_factory import make_checkpoint  # brings torch, which not all tests need

    return _once(lambda kind: make_checkpoint(kind, tmp_path_factory.mktemp("saved") / kind))


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """By kind, the folder of a tiny checkpoint in the project's format. Not to be written to: tests share it."""
    from tests.checkpoint_factory import make_imported

    return _once(lambda kind: make_imported(kind, tmp_path_factory.mktemp("imported") / kind))


def _once(make: MakeCheckpoint) -> MakeCheckpoint:
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = make(kind)
        return made[kind]

    return get
