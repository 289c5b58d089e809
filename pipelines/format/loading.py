"""Load models with transformers, and raise errors where transformers would only warn."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import CheckpointDamaged, CheckpointError, CheckpointUnsupported

LONGEST_REASON = 300  # characters
COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal


def load_transformers(model_class: Any, folder: Path, *, pickled: bool = False, may_lack: str | None = None) -> Any:
    """Call `model_class.from_pretrained(folder)` on safetensors; `pickled` allows a pickle if there are no safetensors.

    The weights are converted to float32, however they are stored.

    Raises CheckpointDamaged if files are truncated, or if weights are missing or of another shape than by the config,
    which transformers would replace by random numbers. Weights whose names begin with `may_lack` may be missing; that
    part is then removed from the model.
    """
    with refusing_damage(folder):
        model, report = model_class.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=None if pickled else True,
            dtype="float32",
            ignore_mismatched_sizes=True,  # refused below, by name
            output_loading_info=True,
        )
    if report["mismatched_keys"]:
        key, stored, made = max(report["mismatched_keys"])
        why = f"its weights have {key} of the shape {tuple(stored)}, but its config.json gives it {tuple(made)}"
        raise CheckpointDamaged(str(folder), f"{why}; correct the one that is wrong")
    missing = [key for key in report["missing_keys"] if may_lack is None or not key.startswith(may_lack)]
    if missing:
        why = f"its weights lack {', '.join(sorted(missing)[:3])}"
        raise CheckpointDamaged(str(folder), why + _wrapped(missing, report["unexpected_keys"]))
    if may_lack is not None and report["missing_keys"]:
        setattr(model, may_lack.removesuffix("."), None)
    return model


def _wrapped(missing: Sequence[str], unexpected: Iterable[str]) -> str:
    """What to do if the file has the missing weights under the prefix of a wrapper, such as `module.`."""
    longer = {key: name for key in unexpected for name in missing if key.endswith(f".{name}")}
    if not longer:
        return ""
    prefix = min(key.removesuffix(name) for key, name in longer.items())
    return (
        f"; it has them under the prefix {prefix!r} of a wrapper: import its file of weights, with the folder as the "
        "base: munjang import FOLDER/FILE NEW_FOLDER --base FOLDER"
    )


@contextmanager
def refusing_damage(folder: Path) -> Iterator[None]:
    """Turn whatever a library raises for files it can't read into CheckpointDamaged, which names the folder.

    A package that is not installed and a part that a library does not implement are no fault of the files: these errors
    become CheckpointUnsupported.
    """
    try:
        yield
    except CheckpointError:
        raise
    except (ImportError, NotImplementedError) as error:
        raise CheckpointUnsupported(str(folder), reason(error)) from error
    except Exception as error:  # libraries raise KeyError, OSError, RuntimeError, SafetensorError, ...
        raise CheckpointDamaged(str(folder), reason(error)) from error


@contextmanager
def refusing_unsupported(folder: Path) -> Iterator[None]:
    """Turn whatever a library raises in the block into CheckpointUnsupported, for folders whose files are sound."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # libraries raise KeyError, TypeError, ValueError, ...
        raise CheckpointUnsupported(str(folder), f"{type(error).__name__}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """The lines of a library's error as one line of at most `LONGEST_REASON` characters; without any, its type."""
    text = " ".join(COLOURS.sub("", str(error)).split()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 4].rsplit(" ", 1)[0] + " ..."
