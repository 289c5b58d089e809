"""Debian's Prometheus, which scrapes a running server in tests, and its promtool."""

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.checkpoints.resolve import ROOT
from tests.serve.server import free_port

FOLDER = ROOT / "deploy" / "prometheus"
START_S = 60.0
DISCOVERY = "prom_metrics_service_discovery.json"


def program(name: str) -> str:
    """The path of a program of the package. Skips the test where it is missing, except in CI."""
    path = shutil.which(name)
    if path is None and os.environ.get("CI") != "true":
        pytest.skip(f"{name} is not installed (Debian: apt-get install prometheus)")
    assert path is not None, f"{name} is not installed"
    return path


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and values that an expression has now."""
        found = self._get("query", query=expression)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with the health of their last evaluation."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **parameters: str) -> Any:
        address = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]


def wait_until_ready(url: str) -> None:
    """Wait for a server of this machine that is starting."""
    until_s = time.monotonic() + START_S
    while True:
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(url, timeout=10):
            return
        assert time.monotonic() < until_s, f"not ready: {url}"
        time.sleep(0.1)


@contextmanager
def scraping(session: Path, folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus with the shipped configuration, which scrapes the server of a Ray session every few seconds."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    # Prometheus gives up a scrape after its interval, and a busy machine needs some time for one.
    config["global"] = {"scrape_interval": "4s", "scrape_timeout": "4s", "evaluation_interval": "1s"}
    (scrape,) = config["scrape_configs"]
    (discovery,) = scrape["file_sd_configs"]
    assert [Path(name).name for name in discovery["files"]] == [DISCOVERY]
    discovery["files"] = [str(session / DISCOVERY)]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    shutil.copy(FOLDER / "alerts.yml", folder)
    address = f"127.0.0.1:{free_port()}"
    command = [program("prometheus"), "--config.file=prometheus.yml", f"--web.listen-address={address}"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([*command, "--storage.tsdb.path=data"], cwd=folder, stdout=log, stderr=log) as process,
    ):
        try:
            wait_until_ready(f"http://{address}/-/ready")
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()
