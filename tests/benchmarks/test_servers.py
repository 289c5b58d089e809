from pathlib import Path

import pytest
import yaml

from benchmarks.environments import PEERS
from benchmarks.servers import VARIANTS, Munjang, chosen


@pytest.mark.parametrize("server", VARIANTS, ids=lambda server: server.label)
def test_a_measured_server_does_not_use_the_stores_of_the_repository(
    server: Munjang, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Munjang, "checkpoint", lambda *_: tmp_path)
    (command,) = server.commands("small", tmp_path, 8000, tmp_path)
    config = yaml.safe_load((tmp_path / "serve_config.yaml").read_text(encoding="utf-8"))
    assert str(tmp_path / "serve_config.yaml") in command.arguments
    assert config["applications"][0]["args"]["chat"]["stores"] == str(tmp_path / "stores")


def test_a_backend_has_the_server_of_fastapi_and_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.servers.python_of", lambda environment: Path("/environments") / environment)
    monkeypatch.setattr("benchmarks.servers.models.folder_of", lambda *_: tmp_path)
    (server,) = chosen(["fastapi-onnx/1x2"])
    (command,) = server.commands("shipped", tmp_path, 8000, tmp_path)
    assert command.arguments[0] == "/environments/backends"
    assert command.folder == PEERS / "fastapi"
    assert command.environment["BACKEND"] == "onnx"
    assert server.precision == "int8"
