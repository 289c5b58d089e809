"""Loading with the library a checkpoint came from, refusing what the library would patch over."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from pipelines.errors import CheckpointDamaged, CheckpointError, CheckpointUnsafe, CheckpointUnsupported

MODULES = {"Transformer", "StaticEmbedding", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout"}


def load_transformers(model_class: Any, folder: Path, *, pickled: bool = False, may_lack: str | None = None) -> Any:
    """`model_class.from_pretrained(folder)` from safetensors, or, with `pickled`, from a pickle where there are none.

    Raises CheckpointDamaged where files are cut, where shapes do not fit the config, or where weights are missing,
    which transformers would fill with random numbers and a warning; save those whose names begin with `may_lack`.
    """
    with refusing_damage(folder):
        model, report = model_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=None if pickled else True, output_loading_info=True
        )
    missing = [key for key in report["missing_keys"] if may_lack is None or not key.startswith(may_lack)]
    if missing:
        raise CheckpointDamaged(str(folder), f"its weights lack {', '.join(sorted(missing)[:3])}")
    return model


def load_sentence_transformer(folder: Path) -> SentenceTransformer:
    """`SentenceTransformer(folder)` on the CPU, of modules of the library's own, never of ones the folder brings along.

    Raises CheckpointUnsafe where `modules.json` names code from elsewhere, CheckpointUnsupported for modules that are
    not served here, CheckpointDamaged as `load_transformers`.
    """
    _refuse_modules(folder)
    with refusing_damage(folder):
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def _refuse_modules(folder: Path) -> None:
    path = folder / "modules.json"
    if not path.is_file():
        return
    with refusing_damage(path):
        types = [str(module["type"]) for module in json.loads(path.read_text(encoding="utf-8"))]
    if not all(kind.startswith("sentence_transformers.") for kind in types):
        raise CheckpointUnsafe(str(path), "names modules that are not sentence-transformers' own")
    unknown = {kind.rpartition(".")[2] for kind in types} - MODULES
    if unknown:
        raise CheckpointUnsupported(str(path), f"no task here serves modules of type {', '.join(sorted(unknown))}")


@contextmanager
def refusing_damage(folder: Path) -> Iterator[None]:
    """Turn whatever a library raises on files it can't read into CheckpointDamaged, naming the folder."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # libraries raise KeyError, OSError, RuntimeError, SafetensorError, ...
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointDamaged(str(folder), why[0]) from error
