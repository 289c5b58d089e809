"""A Munjang server that a benchmark starts for itself."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.processes import Command
from pipelines.checkpoints.resolve import ROOT


def munjang(checkpoint: str, port: int, scratch: Path, sts: Mapping[str, Any] | None = None) -> Command:
    """Start as `make serve` does, but on loopback, without a cache, and with jobs and stores in `scratch`.

    `sts` are more settings of the task.
    """
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    args = config["applications"][0]["args"]
    args["sts"] = {"checkpoint": str(Path(checkpoint).resolve()), "cache_bytes": 0, **(sts or {})}
    args["chat"], args["jobs"] = {"stores": str(scratch / "stores")}, {"folder": str(scratch / "jobs")}
    path = scratch / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return Command([sys.executable, "-m", "deployments", "serve", str(path)], ROOT, {"RAY_ADDRESS": "local"})
