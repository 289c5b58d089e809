"""What a setting names, as a verified folder: imported into a cache on the way where it is not in the format yet."""

import hashlib
import logging
import os
from pathlib import Path

from filelock import FileLock

from pipelines.format.manifest import MANIFEST, Task

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]


def cache_folder() -> Path:
    """Where imported checkpoints are kept: $MUNJANG_CACHE, or `munjang` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "munjang"
    return Path(os.environ.get("MUNJANG_CACHE", default))


def portable(source: str) -> str:
    """`source` as every node of a cluster understands it: an absolute path, or a Hub id with its commit.

    A Hub id stays as it is where the Hub does not answer: what was imported before still serves.
    """
    path = Path(source).expanduser()
    if path.exists() or "@" in source:
        return str(path.resolve()) if path.exists() else source
    from huggingface_hub import HfApi

    try:
        return f"{source}@{HfApi().model_info(source).sha}"
    except Exception:  # the client's own errors, and whatever its HTTP library raises without a network
        return source


def resolve(source: str, task: Task) -> Path:
    """The folder of the checkpoint that `source` names, unverified.

    A path, where relative, counts from the working folder, then from the repository's root. A folder in the
    project's format is taken as it is; anything else (see `import_checkpoint`) is imported once and kept.
    Raises CheckpointError.
    """
    path = next((found for found in (Path(source).expanduser(), ROOT / source) if found.exists()), None)
    if path is not None and (path / MANIFEST).is_file():
        return path
    return _imported(source if path is None else str(path.resolve()), task)


def _imported(source: str, task: Task) -> Path:
    target = cache_folder() / f"{task}-{hashlib.sha256(identity(source).encode()).hexdigest()[:16]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):  # replicas of one node start at the same time
        if not target.exists():
            from pipelines.checkpoints.importing import import_checkpoint  # brings torch, which tokenizers do without

            logger.info("importing %s for %s", source, task)
            import_checkpoint(source, target, task=task)
    return target


def identity(source: str) -> str:
    """A local source by path, size and time, so that a retrained model is imported again; a Hub id by itself."""
    path = Path(source)
    if not path.exists():
        return source
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return "\n".join([source, *(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)])
