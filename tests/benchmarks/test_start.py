import sys
from pathlib import Path

import psutil
import pytest
import yaml

from benchmarks.processes import Tree
from benchmarks.start import idle, munjang
from benchmarks.watch import Life, Watch
from deployments.serve_config import read_config


def test_the_server_has_the_shipped_configuration_and_its_own_port_and_jobs(tmp_path: Path) -> None:
    command = munjang(sys.executable, tmp_path, 8001, {"A": "b"})
    config = read_config(Path(command.arguments[-1]))
    shipped = yaml.safe_load(Path("serve_config.yaml").read_text(encoding="utf-8"))
    assert config["http_options"]["port"] == 8001
    args = config["applications"][0]["args"]
    assert args == shipped["applications"][0]["args"] | {"jobs": {"folder": str(tmp_path / "jobs")}}
    assert command.environment == {"A": "b"}


def test_idle_time_and_memory_are_those_of_processes_that_are_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.start.SETTLED_S", 0.0)
    with psutil.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        watch = Watch(Tree(process))
        watch.look()
        (line,) = idle(watch, 0.2)
        process.kill()
    assert line["process"] == Path(sys.executable).name
    assert line["pss_mib"] > 1
    assert 0 <= line["idle"] < 2
    assert not watch.alive()


def test_a_process_that_has_ended_keeps_its_last_name_and_time() -> None:
    with psutil.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        life = Life(psutil.Process(process.pid), 0.0)
        life.look()
        before = (life.name, life.cpu_s)
        process.kill()
    life.look()
    assert (life.name, life.cpu_s) == before
