"""Starts that succeed and starts that are refused, as with `make serve`."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.format.manifest import read_manifest, write_manifest
from tests.serve.server import ROOT, Server, environment, write_config

pytestmark = pytest.mark.serve


def refused(config: Path, *arguments: str) -> str:
    """Run the launcher until it ends with status 1, and return its error output."""
    ended = subprocess.run(
        [sys.executable, "-m", "deployments", "serve", str(config), *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A copy of the shipped CoLA checkpoint, for the test to damage."""
    return Path(shutil.copytree(ROOT / "checkpoints" / "cola", tmp_path / "cola"))


def test_a_missing_file_stops_the_start_and_is_named(tmp_path: Path, damaged: Path) -> None:
    (damaged / "model.safetensors").unlink()
    message = refused(write_config(tmp_path), "--cola", str(damaged))
    assert "CheckpointDamaged" in message
    assert "model.safetensors: missing" in message


def test_a_cut_file_stops_the_start_and_is_named(tmp_path: Path, damaged: Path) -> None:
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "model.safetensors: its SHA-256 differs" in refused(write_config(tmp_path), "--cola", str(damaged))


def test_a_checkpoint_for_another_task_stops_the_start(tmp_path: Path) -> None:
    assert "not for sts" in refused(write_config(tmp_path), "--sts", str(ROOT / "checkpoints" / "cola"))


def test_a_misspelt_setting_stops_the_start_and_is_named(tmp_path: Path) -> None:
    assert "sts.treshold" in refused(write_config(tmp_path, sts={"treshold": 0.5}))
    config = write_config(tmp_path)
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"applicatons": []}))
    assert "applicatons" in refused(config)


def test_a_port_in_use_stops_the_start(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    port = yaml.safe_load(config.read_text())["http_options"]["port"]
    with socket.create_server(("127.0.0.1", port)):
        assert f"port {port} is taken" in refused(config)


@pytest.mark.usefixtures("server")  # a healthy server, which has the default port of Ray's dashboard
def test_weights_whose_outputs_differ_from_the_golden_outputs_are_not_served(tmp_path: Path, damaged: Path) -> None:
    manifest = read_manifest(damaged)
    wrong = [golden.model_copy(update={"output": 1 - float(golden.output)}) for golden in manifest.golden]
    write_manifest(damaged, manifest.model_copy(update={"golden": wrong}))  # the hashes of the files stay correct
    once = environment(RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT="1")  # Serve tries three times by default
    server = Server(write_config(tmp_path), once, "--cola", str(damaged))
    try:
        assert server.process.wait(200) == 1
    finally:
        server.kill()
    assert "golden input 0" in server.output
    assert "Munjang can't start" in server.output
