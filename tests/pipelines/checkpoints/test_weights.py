"""The number format of weights before and after an import."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from pipelines.checkpoints.__main__ import main
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.errors import CheckpointUnsupported
from pipelines.format.loading import load_transformers
from pipelines.format.manifest import read_manifest
from pipelines.format.sentence_transformer import load_sentence_transformer
from pipelines.format.weights import Weights, narrowest, stored_as
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import WEIGHTS, edit_json, edit_weights, pickle_weights

HALF: dict[Weights, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16}
LARGE = "bert.encoder.layer.0.output.dense.weight"

Source = Callable[[str], Path]


def store(folder: Path, dtype: torch.dtype, only: str = "") -> None:
    """Convert weights in the file, but do not change the config."""
    edit_weights(folder, lambda weights: weights.update({n: v.to(dtype) for n, v in weights.items() if only in n}))


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ([torch.float16, torch.int64, torch.float16], "float16"),
        ([torch.bfloat16], "bfloat16"),
        ([torch.float16, torch.bfloat16], "float32"),  # only float32 holds the numbers of both
        ([torch.float32, torch.float16], "float32"),
        ([torch.float64], "float32"),
        ([torch.int64], "float32"),
    ],
)
def test_16_bits_are_enough_only_if_all_weights_have_the_same_16_bit_format(
    dtypes: list[torch.dtype], expected: Weights
) -> None:
    assert narrowest(dtypes) == expected


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("weights", HALF)
@pytest.mark.parametrize("kind", ["bi-encoder", "static", "classifier"])
def test_an_import_stores_weights_as_the_source_does(
    source: Source, imported: MakeCheckpoint, destination: Path, kind: str, weights: Weights, pickled: bool
) -> None:
    folder = source(kind)
    store(folder, HALF[weights])
    before = load_file(folder / WEIGHTS)
    if pickled:
        pickle_weights(folder)
    import_checkpoint(str(folder), destination)
    after = load_file(destination / WEIGHTS)
    assert stored_as(destination) == weights
    assert {value.dtype for value in after.values()} == {HALF[weights]}
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert (destination / WEIGHTS).stat().st_size < 0.6 * (imported(kind) / WEIGHTS).stat().st_size


@pytest.mark.usefixtures("untraced")
def test_the_dtype_in_the_config_is_ignored(source: Source, destination: Path) -> None:
    folder = source("classifier")
    edit_json(folder / "config.json", dtype="float16")
    before = load_file(folder / WEIGHTS)
    import_checkpoint(str(folder), destination)
    after = load_file(destination / WEIGHTS)
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.usefixtures("untraced")
def test_golden_outputs_are_computed_in_float32_from_the_rounded_weights(
    source: Source, checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    for weights in HALF:
        import_checkpoint(str(checkpoint("classifier")), tmp_path / weights, weights=weights)
    folder = source("classifier")
    edit_weights(folder, lambda w: w.update({name: value.bfloat16().float() for name, value in w.items()}))
    import_checkpoint(str(folder), tmp_path / "float32")
    assert stored_as(tmp_path / "float32") == "float32"
    golden = [read_manifest(tmp_path / weights).golden for weights in ("bfloat16", "float32", "float16")]
    assert golden[0] == golden[1] != golden[2]


@pytest.mark.usefixtures("untraced")
def test_weights_beyond_the_range_are_refused_and_named(source: Source, destination: Path) -> None:
    folder = source("classifier")
    edit_weights(folder, lambda weights: weights[LARGE].__setitem__((0, 0), 70_000))
    with pytest.raises(CheckpointUnsupported, match=f"{LARGE} holds numbers beyond the range of float16"):
        import_checkpoint(str(folder), destination, weights="float16")
    assert list(destination.parent.iterdir()) == []


@pytest.mark.usefixtures("untraced")
def test_the_import_command_rounds_weights(
    checkpoint: MakeCheckpoint, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["import", str(checkpoint("static")), str(destination), "--weights", "float16"]
    monkeypatch.setattr(sys, "argv", ["checkpoints", *words])
    assert main() == 0
    assert stored_as(destination) == "float16"


def test_a_checkpoint_in_the_format_is_not_rounded(imported: MakeCheckpoint, destination: Path) -> None:
    with pytest.raises(CheckpointUnsupported, match="its weights are not stored in float16"):
        import_checkpoint(str(imported("static")), destination, weights="float16")
    import_checkpoint(str(imported("static in float16")), destination, weights="float16")
    assert stored_as(destination) == "float16"


def test_both_libraries_load_16_bit_weights_as_float32(imported: MakeCheckpoint) -> None:
    classifier = load_transformers(AutoModelForSequenceClassification, imported("classifier in float16"))
    models = [
        classifier,
        *map(load_sentence_transformer, map(imported, ("static in float16", "bi-encoder in bfloat16"))),
    ]
    assert {weight.dtype for model in models for weight in model.parameters()} == {torch.float32}
