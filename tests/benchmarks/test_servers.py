from pathlib import Path

import pytest
import yaml

from benchmarks.servers import VARIANTS, Munjang


@pytest.mark.parametrize("server", VARIANTS, ids=lambda server: server.label)
def test_a_measured_server_does_not_use_the_stores_of_the_repository(
    server: Munjang, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Munjang, "checkpoint", lambda *_: tmp_path)
    (command,) = server.commands("small", tmp_path, 8000, tmp_path)
    config = yaml.safe_load((tmp_path / "serve_config.yaml").read_text(encoding="utf-8"))
    assert str(tmp_path / "serve_config.yaml") in command.arguments
    assert config["applications"][0]["args"]["chat"]["stores"] == str(tmp_path / "stores")
