"""The check before a checkpoint is served: is every file there, whole, and as it was written?"""

from pathlib import Path

from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.manifest import Manifest, Task, hash_file, read_manifest


def verify(folder: Path, task: Task) -> Manifest:
    """The manifest of `folder`, once every file matches its SHA-256.

    Raises CheckpointNotFound without a manifest, CheckpointDamaged naming the first file that is missing, cut or
    altered, CheckpointUnsupported where the checkpoint is for another task.
    """
    manifest = read_manifest(folder)
    if manifest.task != task:
        raise CheckpointUnsupported(str(folder), f"a checkpoint for {manifest.task}, not for {task}")
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointDamaged(str(path), "missing")
        if hash_file(path) != expected:
            raise CheckpointDamaged(str(path), "its SHA-256 differs from the manifest's")
    return manifest
