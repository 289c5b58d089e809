"""Checkpoints to run, tiny ones and those that come with the project."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from pipelines.checkpoints.resolve import ROOT
from pipelines.format.manifest import Manifest
from tests.conftest import MakeCheckpoint

SHIPPED = ("shipped sts", "shipped cola", "shipped qa")


@pytest.fixture(scope="session")
def served(imported: MakeCheckpoint) -> MakeCheckpoint:
    """By kind, the folder of a checkpoint in the project's format; one of `SHIPPED` for the project's own."""
    return lambda kind: ROOT / "checkpoints" / kind.split()[1] if kind in SHIPPED else imported(kind)


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Imports in this test write no ONNX graph: tracing takes seconds and has its own tests."""
    from pipelines.engines import onnx_export

    trace = onnx_export.write_onnx

    def refuse(folder: Path, manifest: Manifest) -> Path:
        if folder.is_relative_to(tmp_path):
            raise RuntimeError("not in this test")
        return trace(folder, manifest)

    monkeypatch.setattr(onnx_export, "write_onnx", refuse)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch, untraced: None) -> list[dict[str, Any]]:
    """What was asked to be trained; runs take place in this process, one after the other, instead of on Ray,
    and what they leave is neither traced nor quantized."""
    import torch

    from pipelines.training import experiment, export
    from pipelines.training.on_ray import RunResult
    from pipelines.training.trainer import Trainer

    asked: list[dict[str, Any]] = []

    def fit(name: str, load: Any, stages: Any, dev: Any, settings: Any, where: Any) -> RunResult:
        asked.append({"name": name, "stages": stages, "dev": dev, "settings": settings, "where": where})
        run = Trainer(load, stages, dev, settings)
        for _ in run.epochs():
            pass
        return RunResult(run.history, run.best)

    torch.set_num_threads(1)
    monkeypatch.setattr(experiment, "fit", fit)
    monkeypatch.setattr(experiment, "cluster", contextlib.nullcontext)
    monkeypatch.setattr(export, "quantize_if_as_good", lambda _folder, manifest, *_examples: manifest)  # it takes long
    return asked
