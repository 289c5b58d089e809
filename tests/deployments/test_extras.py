"""Serving imported checkpoints needs no package of the extra `models`."""

import subprocess
import sys

import pytest

from pipelines.checkpoints.resolve import ROOT

SERVING = """
import sys
from pathlib import Path

import deployments.configuration
import deployments.graph
import deployments.server_process
from pipelines.checkpoints.in_process import load_pipeline

for task in ("sts", "cola", "qa"):
    load_pipeline(Path("checkpoints") / task, task)
extra = {"torch", "transformers", "sentence_transformers", "onnxscript", "scipy", "sklearn"}
print(sorted(extra & sys.modules.keys()))
"""


@pytest.mark.slow
def test_serving_the_shipped_checkpoints_imports_no_package_of_the_extra() -> None:
    command = [sys.executable, "-c", SERVING]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout
    assert shown == "[]\n"
