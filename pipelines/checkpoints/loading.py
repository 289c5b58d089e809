"""Loading with the library a checkpoint came from, refusing what the library would patch over."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import CheckpointDamaged, CheckpointError


def load_transformers(auto_class: Any, folder: Path) -> Any:
    """`auto_class.from_pretrained(folder)` from safetensors alone.

    Raises CheckpointDamaged where files are cut, where shapes do not fit the config, or where weights are missing,
    which transformers would fill with random numbers and a warning.
    """
    with refusing_damage(folder):
        model, report = auto_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise CheckpointDamaged(str(folder), f"its weights lack {missing}")
    return model


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
