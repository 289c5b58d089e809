"""The last step of every training run: golden inputs asked, hashes taken, the manifest written."""

from pathlib import Path

from pipelines import golden, local
from pipelines.checkpoints.manifest import Manifest, write_manifest
from pipelines.engines.settings import EngineSettings


def finish(folder: Path, draft: Manifest) -> Manifest:
    """Completes the manifest of a checkpoint whose other files lie in `folder`, by asking the saved model itself."""
    for weights in folder.rglob("*.safetensors"):
        weights.chmod(0o644)  # libraries write some for the owner alone, whom a container need not run as
    model = local.load_model(folder, draft, EngineSettings())
    return write_manifest(folder, draft.model_copy(update={"golden": golden.record(folder, draft, model)}))
