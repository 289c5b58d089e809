"""Load models with transformers, and raise errors where transformers would only warn."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import CheckpointDamaged, CheckpointError


def load_transformers(model_class: Any, folder: Path, *, pickled: bool = False, may_lack: str | None = None) -> Any:
    """Call `model_class.from_pretrained(folder)` on safetensors; `pickled` allows a pickle if there are no safetensors.

    The weights are converted to float32, however they are stored.

    Raises CheckpointDamaged if files are truncated, shapes do not fit the config, or weights are missing, which
    transformers would replace by random numbers. Weights whose names begin with `may_lack` may be missing; that part
    is then removed from the model.
    """
    with refusing_damage(folder):
        model, report = model_class.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=None if pickled else True,
            dtype="float32",
            output_loading_info=True,
        )
    missing = [key for key in report["missing_keys"] if may_lack is None or not key.startswith(may_lack)]
    if missing:
        raise CheckpointDamaged(str(folder), f"its weights lack {', '.join(sorted(missing)[:3])}")
    if may_lack is not None and report["missing_keys"]:
        setattr(model, may_lack.removesuffix("."), None)
    return model


@contextmanager
def refusing_damage(folder: Path) -> Iterator[None]:
    """Turn whatever a library raises for files it can't read into CheckpointDamaged, which names the folder."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # libraries raise KeyError, OSError, RuntimeError, SafetensorError, ...
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointDamaged(str(folder), why[0]) from error
