"""What the replicas of each deployment must not import: it would take memory and time in each of them.

pandas is not listed: Serve itself imports it where it is installed.
"""

import subprocess
import sys

import pytest

from pipelines.checkpoints.resolve import ROOT

NEVER = {
    *("torch", "transformers", "sentence_transformers", "peft", "onnxscript", "sklearn", "scipy"),
    *("datasets", "matplotlib", "faiss", "langchain", "huggingface_hub", "redis", "ray.data", "ray.train"),
}
MODELS_ONLY = {"onnxruntime", "onnx"}
CALLERS_ONLY = {"sqlite3", "fsspec"}
REPLICAS = {
    "deployments.tokenizer": MODELS_ONLY | CALLERS_ONLY,
    "deployments.models": CALLERS_ONLY,
    "deployments.persona_chat": MODELS_ONLY | CALLERS_ONLY | {"httpx2"},
    "deployments.ingress": MODELS_ONLY,
    "deployments.job_runner": MODELS_ONLY,
    "deployments.configuration": MODELS_ONLY,  # the launcher
}


@pytest.mark.slow
@pytest.mark.parametrize("module", REPLICAS)
def test_a_replica_imports_nothing_that_it_does_not_use(module: str) -> None:
    shown = imported(f"import {module}")
    assert not {name for name in NEVER | REPLICAS[module] if name in shown}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["sts", "cola", "qa"])
def test_a_model_replica_loads_its_checkpoint_without_other_libraries_than_the_engine(task: str) -> None:
    shown = imported(
        "import deployments.models",
        "from pathlib import Path",
        "from pipelines.checkpoints.in_process import load_pipeline",
        f"load_pipeline(Path('checkpoints/{task}'), '{task}')",
    )
    assert "onnxruntime" in shown
    assert not NEVER & shown


def imported(*lines: str) -> set[str]:
    """The modules that a process has imported after these lines."""
    code = "\n".join([*lines, "import sys", "print(*(name for name in sys.modules if sys.modules[name]))"])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return set(done.stdout.split())
