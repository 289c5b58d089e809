"""Functions that copy and damage checkpoints."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.checkpoints.importing import import_checkpoint
from pipelines.errors import CheckpointError

WEIGHTS = "model.safetensors"


class Planted:
    """An object that creates a file when it is unpickled without protection."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.mark}'",)


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def edit_json(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def edit_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS)
    edit(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def cut(path: Path, bytes_left: int) -> None:
    path.write_bytes(path.read_bytes()[:bytes_left])


def pickle_weights(folder: Path, extra: dict[str, object] | None = None, name: str = "pytorch_model.bin") -> Path:
    """Replace the safetensors in a folder by a torch pickle of the weights."""
    torch.save({**load_file(folder / WEIGHTS), **(extra or {})}, folder / name)
    (folder / WEIGHTS).unlink()
    return folder


def plain_pickle(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def refused(source: Path, destination: Path, error: type[CheckpointError], match: str) -> None:
    with pytest.raises(error, match=match):
        import_checkpoint(str(source), destination)
    assert not destination.exists()
    assert list(destination.parent.iterdir()) == []
