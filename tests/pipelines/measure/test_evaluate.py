import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from deployments.api.app import make_api
from pipelines import evaluate
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.engines.choice import EngineSettings
from pipelines.errors import DataNotFound, ServerFailed
from pipelines.measure.evaluate import evaluate_checkpoint, evaluate_server
from pipelines.measure.server_client import KEY_VARIABLE, ServerClient
from tests.conftest import MakeCheckpoint
from tests.deployments.api.conftest import ScriptedServices
from tests.pipelines.small_data import write_small_data

TASKS = ("sts", "cola", "qa")
URL = "http://localhost"
Run = Callable[..., int]


class InProcess:
    """Runs the real pipeline of a task in this process, in place of the deployment graph."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    async def submit(self, item: Any) -> Any:
        return (await self.submit_all([item]))[0]

    async def submit_all(self, items: Sequence[Any]) -> list[Any]:
        results: list[Any] = await self._pipeline(items)
        return results


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Path]:
    return write_small_data(tmp_path)


@pytest.fixture
def shipped(served: MakeCheckpoint) -> dict[str, Path]:
    return {task: served(f"shipped {task}") for task in TASKS}


@pytest.fixture
def serving(shipped: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> ScriptedServices:
    """A server at URL with the real routes and the shipped checkpoints."""
    stages: dict[str, Any] = {task: InProcess(load_pipeline(shipped[task], task)) for task in TASKS}  # type: ignore[arg-type]
    services = replace(ScriptedServices(), **stages, sts_files=stages["sts"])

    async def describe() -> dict[str, Any]:
        return {task: {"threshold": None if task == "qa" else 0.5} for task in TASKS}

    monkeypatch.setattr(services, "describe", describe)
    transport = httpx2.ASGITransport(make_api(services))
    monkeypatch.setattr(ServerClient, "_client", lambda _: httpx2.AsyncClient(base_url=URL, transport=transport))
    return services


@pytest.mark.parametrize("task", TASKS)
def test_a_server_has_the_figures_of_the_checkpoint_it_serves(
    task: Any, data: dict[str, Path], shipped: dict[str, Path], serving: ScriptedServices
) -> None:
    alone = evaluate_checkpoint(shipped[task], str(data[task]), EngineSettings())
    assert evaluate_server(URL, str(data[task]), task) == pytest.approx(alone, abs=1e-6)
    assert any(value != 0 for value in alone.values())


def test_many_pairs_are_sent_in_several_files_and_keep_their_order(
    serving: ScriptedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [("서울 날씨", "서울 날씨" + " 내일" * number) for number in range(7)]
    whole = ServerClient(URL).outputs("sts", pairs)
    monkeypatch.setattr("pipelines.measure.server_client.PAIRS_PER_FILE", 3)
    assert ServerClient(URL).outputs("sts", pairs) == [(pytest.approx(score), flag) for score, flag in whole]


@pytest.mark.parametrize("key", [None, "a-key-of-the-environment"])
def test_a_server_gets_the_key_of_the_environment(key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    if key:
        monkeypatch.setenv(KEY_VARIABLE, key)
    assert ServerClient(URL)._client().headers.get("Authorization") == (f"Bearer {key}" if key else None)


def test_a_server_that_refuses_a_request_is_an_error(serving: ScriptedServices) -> None:
    with pytest.raises(ServerFailed, match=rf"{URL}/generate gave no answer: .*422"):
        ServerClient(URL).outputs("cola", ["fine", " "])


def test_a_task_that_is_not_served_is_an_error(serving: ScriptedServices, monkeypatch: pytest.MonkeyPatch) -> None:
    async def describe() -> dict[str, Any]:
        return {"sts": {"threshold": 0.6}}

    monkeypatch.setattr(serving, "describe", describe)
    with pytest.raises(DataNotFound, match="serves sts, not qa"):
        ServerClient(URL).threshold("qa")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, words)])
        return evaluate.main()

    return run


def test_the_command_prints_the_figures_of_the_engine_it_is_given(
    run: Run, data: dict[str, Path], shipped: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for engine in ({"dtype": "int8"}, {"dtype": "float32", "backend": "torch"}):
        assert run(shipped["qa"], data["qa"], "--engine", json.dumps(engine)) == 0
        expected = evaluate_checkpoint(shipped["qa"], str(data["qa"]), EngineSettings.model_validate(engine))
        assert json.loads(capsys.readouterr().out) == {name: round(value, 4) for name, value in expected.items()}


def test_the_command_measures_a_server_at_a_url(
    run: Run, data: dict[str, Path], serving: ScriptedServices, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data["cola"], "--task", "cola", "--url", URL) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"matthews", "accuracy"}


def test_a_checkpoint_in_another_format_is_imported_if_its_task_is_given(
    run: Run,
    checkpoint: MakeCheckpoint,
    data: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MUNJANG_CACHE", str(tmp_path / "cache"))
    assert run(checkpoint("classifier"), data["cola"], "--task", "cola") == 0
    assert set(json.loads(capsys.readouterr().out)) == {"matthews", "accuracy"}


def test_the_command_line_can_name_columns(
    run: Run, data: dict[str, Path], shipped: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [line.split("\t") for line in data["cola"].read_text(encoding="utf-8").splitlines()]
    own = data["cola"].with_name("own.tsv")
    lines = ["said\tok", *(f"{sentence}\t{label}" for _, label, _, sentence in rows)]
    own.write_text("\n".join(lines), encoding="utf-8")
    assert run(shipped["cola"], own, "--text-column", "said", "--label-column", "ok") == 0
    ours = capsys.readouterr().out
    assert run(shipped["cola"], data["cola"]) == 0
    assert ours == capsys.readouterr().out


def test_bad_data_and_servers_exit_with_1_and_a_reason(
    run: Run, data: dict[str, Path], shipped: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(shipped["qa"], tmp_path / "nowhere.json") == 1
    assert "DataNotFound: " in capsys.readouterr().err
    assert run(shipped["qa"], data["cola"]) == 1
    assert "BadRow: " in capsys.readouterr().err
    bad = data["cola"].with_name("bad.tsv")
    bad.write_text("a\t1\t\tGood.\nb\t2\t\tBad.\n", encoding="utf-8")
    assert run(shipped["cola"], bad) == 1
    assert f"BadRow: {bad}, line 2: label '2'" in capsys.readouterr().err
    bad.write_text("", encoding="utf-8")
    assert run(shipped["cola"], bad) == 1
    assert f"DataNotFound: {bad}: holds no row" in capsys.readouterr().err
    assert run(data["cola"], "--task", "cola", "--url", "http://127.0.0.1:9") == 1
    assert "ServerFailed: http://127.0.0.1:9/" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["{data}"],
        ["{data}", "--url", URL],
        ["{checkpoint}", "{data}", "--url", URL],
        ["{checkpoint}", "{data}", "--engine", "int8"],
        ["{data}", "--url", URL, "--task", "cola", "--engine", "{{}}"],
        ["owner/name", "{data}"],
    ],
)
def test_a_wrong_command_line_exits_with_2(
    run: Run, data: dict[str, Path], shipped: dict[str, Path], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*(word.format(data=data["cola"], checkpoint=shipped["cola"]) for word in words))
    assert caught.value.code == 2
