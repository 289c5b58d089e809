"""Fixtures of all tests: tiny checkpoints, made once, and guards against downloads and against starting Ray."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# huggingface_hub reads this when it is imported. A test that does not use the local hub then fails instead of
# downloading.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from hypothesis import HealthCheck, settings

for name in ("MUNJANG_KEYS_FILE", "MUNJANG_API_KEY"):  # servers of tests are open unless a test says otherwise
    os.environ.pop(name, None)

# Tests must not fail on a busy machine.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread per worker: the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SERVE = Path(__file__).parent / "serve"
SLOW_FIXTURES = {"checkpoint", "imported", "web"}  # models and a browser, which take seconds to make or start

MakeCheckpoint = Callable[[str], Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use `SLOW_FIXTURES`, also through other fixtures, as slow."""
    for item in items:
        if isinstance(item, pytest.Function) and SLOW_FIXTURES.intersection(item.fixturenames):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _no_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail tests outside tests/serve that start Ray."""
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


@pytest.fixture(autouse=True)
def _log_levels() -> Iterator[None]:
    """Restore the levels of loggers that commands change, so that later tests still see all log records."""
    loggers = [logging.getLogger(name) for name in ("pipelines", "pipelines.checkpoints")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def _traces_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A model that tests import again gets the graph that was traced for it first, by any of the workers."""
    from tests.traces import kept_in

    temporary = tmp_path_factory.getbasetemp()
    folder = (temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary) / "traces"
    folder.mkdir(exist_ok=True)
    with kept_in(folder):
        yield


@pytest.fixture(scope="session")
def checkpoint(_traces_kept: None, tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Gives the folder of a tiny checkpoint of a kind, as its library saves it. Shared: tests must not write to it."""
    from tests.checkpoint_factory import make_checkpoint  # imports torch, which not all tests need

    return _cached(lambda kind: make_checkpoint(kind, tmp_path_factory.mktemp("saved") / kind))


@pytest.fixture(scope="session")
def imported(_traces_kept: None, tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Gives the folder of a tiny checkpoint of a kind in the project's format. Shared: tests must not write to it."""
    from tests.checkpoint_factory import make_imported

    return _cached(lambda kind: make_imported(kind, tmp_path_factory.mktemp("imported") / kind))


def _cached(make: MakeCheckpoint) -> MakeCheckpoint:
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = make(kind)
        return made[kind]

    return get
