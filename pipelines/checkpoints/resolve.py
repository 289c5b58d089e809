"""Find the folder of a checkpoint that a setting names, and import it into a cache if necessary."""

import argparse
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from filelock import FileLock

from pipelines.errors import CheckpointUnsupported, install_hint
from pipelines.format.manifest import MANIFEST, Scale, Task, read_manifest

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What a user says about a model's outputs, where its files do not; see `import_checkpoint`."""

    positive_label: str | None = None
    scale: Scale | None = None

    @staticmethod
    def add_to(parser: argparse.ArgumentParser) -> None:
        """Add the options to a command that imports."""
        positive = "for a classifier: label or index of the output that means 'acceptable', if its labels do not say so"
        parser.add_argument("--positive-label", metavar="LABEL", help=positive)
        scale = "for a cross-encoder: lowest and highest prediction, which become 0 and 5 (default: by its activation)"
        parser.add_argument("--scale", type=float, nargs=2, metavar=("LOW", "HIGH"), help=scale)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """The options that the user typed."""
        return cls(arguments.positive_label, None if arguments.scale is None else tuple(arguments.scale))


NOTHING_SAID = OutputOptions()


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


def resolve(source: str, task: Task, outputs: OutputOptions = NOTHING_SAID) -> Path:
    """The folder of the checkpoint that `source` names. The folder is not verified.

    A relative path is looked up in the working folder, then in the repository's root. A folder in the project's format
    is used as it is. Any other source (see `import_checkpoint`) is imported once and kept in the cache. Raises
    CheckpointError, also if a folder in the project's format declares other outputs than `outputs`.
    """
    path = next((found for found in (Path(source).expanduser(), ROOT / source) if found.exists()), None)
    if path is None or not (path / MANIFEST).is_file():
        return _imported(source if path is None else str(path.resolve()), task, outputs)
    if outputs != NOTHING_SAID:
        with _needing_models(source):
            from pipelines.checkpoints.declared_outputs import refuse_other_outputs
        refuse_other_outputs(path, read_manifest(path), outputs.positive_label, outputs.scale)
    return path


def _imported(source: str, task: Task, outputs: OutputOptions) -> Path:
    key = identity(source) + (f"\n{outputs}" if outputs != NOTHING_SAID else "")
    target = cache_folder() / f"{task}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):  # replicas of one node start at the same time
        if not target.exists():
            with _needing_models(source):
                from pipelines.checkpoints.importing import import_checkpoint
            logger.info("importing %s for %s", source, task)
            import_checkpoint(source, target, task=task, positive_label=outputs.positive_label, scale=outputs.scale)
    return target


@contextmanager
def _needing_models(source: str) -> Iterator[None]:
    """Import modules that need PyTorch. Raises CheckpointUnsupported without that."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise CheckpointUnsupported(source, f"importing it needs {error.name}; {install_hint('models')}") from error


def identity(source: str) -> str:
    """A key for the cache: a Hub id itself, or the path, sizes and times of local files.

    So a local model is imported again when its files have changed.
    """
    path = Path(source)
    if not path.exists():
        return source
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return "\n".join([source, *(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)])
