"""Find the folder of a checkpoint that a setting names, and import it into a cache if necessary."""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from pipelines.errors import CheckpointUnsupported, install_hint
from pipelines.format.manifest import MANIFEST, Task

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]


def cache_folder() -> Path:
    """The folder of imported checkpoints: $MUNJANG_CACHE, or `munjang` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "munjang"
    return Path(os.environ.get("MUNJANG_CACHE", default))


def portable(source: str) -> str:
    """Turn `source` into an absolute path or a Hub id with a commit, so that all nodes of a cluster use the same one.

    If the Hub does not answer, the Hub id stays unchanged: an earlier import may still be in the cache.
    """
    path = Path(source).expanduser()
    if path.exists() or "@" in source:
        return str(path.resolve()) if path.exists() else source
    from huggingface_hub import HfApi

    try:
        return f"{source}@{HfApi().model_info(source).sha}"
    except Exception:  # errors of the client, or of its HTTP library without a network
        return source


def resolve(source: str, task: Task) -> Path:
    """The folder of the checkpoint that `source` names. The folder is not verified.

    A relative path is looked up in the working folder, then in the repository's root. A folder in the project's format
    is used as it is. Any other source (see `import_checkpoint`) is imported once and kept in the cache. Raises
    CheckpointError.
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
            import_checkpoint = _importer(source)
            logger.info("importing %s for %s", source, task)
            import_checkpoint(source, target, task=task)
    return target


def _importer(source: str) -> Callable[..., object]:
    """`import_checkpoint`, imported late because it needs PyTorch. Raises CheckpointUnsupported without that."""
    try:
        from pipelines.checkpoints.importing import import_checkpoint
    except ModuleNotFoundError as error:
        raise CheckpointUnsupported(source, f"importing it needs {error.name}; {install_hint('models')}") from error
    return import_checkpoint


def identity(source: str) -> str:
    """A key for the cache: a Hub id itself, or the path, sizes and times of local files.

    So a local model is imported again when its files have changed.
    """
    path = Path(source)
    if not path.exists():
        return source
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return "\n".join([source, *(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)])
