import subprocess
import sys

import pytest

from pipelines.checkpoints.resolve import ROOT

LOAD = """
import sys
from pathlib import Path
from pipelines.checkpoints import golden, in_process
from pipelines.format.manifest import verify
from pipelines.engines.choice import EngineSettings
folder, task, backend = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
manifest = verify(folder, task)
golden.check(folder, manifest, in_process.load_model(folder, manifest, EngineSettings(device="cpu", backend=backend)))
print("torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("task", "backend", "imported"),
    [("sts", "auto", "False"), ("cola", "auto", "False"), ("qa", "auto", "False"), ("cola", "torch", "True")],
)
def test_a_shipped_checkpoint_imports_pytorch_only_if_pytorch_runs_it(task: str, backend: str, imported: str) -> None:
    command = [sys.executable, "-c", LOAD, str(ROOT / "checkpoints" / task), task, backend]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split()[-1] == imported
