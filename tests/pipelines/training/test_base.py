import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, BertConfig, BertModel

from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import CheckpointDamaged, CheckpointNotFound, CheckpointUnsafe, CheckpointUnsupported
from pipelines.training.base import Base
from tests.checkpoint_factory import save_with_wordpiece
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import Planted, copy, cut, pickle_weights


def test_a_folder_is_found_by_its_absolute_path(checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint("bare-encoder")
    monkeypatch.chdir(folder.parent)
    assert Base.find(folder.name) == Base(str(folder.resolve()), folder.name, None)


def test_a_zip_file_can_be_a_base(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "encoder"), "zip", checkpoint("bare-encoder"))
    model, _ = Base.find(archive).load(AutoModelForSequenceClassification, num_labels=2)
    assert model.config.num_labels == 2


def test_the_encoder_is_loaded_and_the_head_depends_on_the_seed(checkpoint: MakeCheckpoint) -> None:
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(Base.find(str(checkpoint("bare-encoder"))).load(AutoModelForSequenceClassification)[0])
    assert all(torch.equal(models[0].classifier.weight, model.classifier.weight) for model in models[:2])
    assert not torch.equal(models[0].classifier.weight, models[2].classifier.weight)
    tables = [model.get_input_embeddings().weight for model in models]
    assert torch.equal(tables[0], tables[2])


def test_half_precision_weights_are_loaded_as_float32(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = AutoModelForSequenceClassification.from_pretrained(checkpoint("classifier"))
    folder = copy(checkpoint("classifier"), tmp_path / "half")
    source.to(torch.bfloat16).save_pretrained(folder)
    model, _ = Base.find(str(folder)).load(AutoModelForSequenceClassification)
    assert {value.dtype for value in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("count", "kept"), [(1, [0]), (2, [0, 3]), (3, [0, 2, 3]), (4, [0, 1, 2, 3]), (None, [0, 1, 2, 3])]
)
def test_the_remaining_layers_are_evenly_spread(tmp_path: Path, count: int | None, kept: list[int]) -> None:
    whole = four_layers(tmp_path / "four")
    model, _ = replace(Base.find(str(tmp_path / "four")), layers=count).load(AutoModelForSequenceClassification)
    assert model.config.num_hidden_layers == len(model.bert.encoder.layer) == len(kept)
    for layer, number in zip(model.bert.encoder.layer, kept, strict=True):
        assert torch.equal(layer.output.dense.weight, whole.encoder.layer[number].output.dense.weight)


def test_keeping_more_layers_than_there_are_is_refused(checkpoint: MakeCheckpoint) -> None:
    with pytest.raises(CheckpointUnsupported, match="bert: can't be cut to 99 layers"):
        replace(Base.find(str(checkpoint("bare-encoder"))), layers=99).load(AutoModel)


@pytest.mark.parametrize("kind", ["classifier", "classifier-distilbert"])
def test_only_attention_gets_the_given_dropout(checkpoint: MakeCheckpoint, kind: str) -> None:
    base = Base.find(str(checkpoint(kind)))
    before, _ = base.load(AutoModelForSequenceClassification)
    model, _ = replace(base, attention_dropout=0.25).load(AutoModelForSequenceClassification)
    rates, others = dropout_rates(model), dropout_rates(before)
    assert {rates.pop(name) for name in list(rates) if "attention" in name and "output" not in name} == {0.25}
    assert rates
    assert all(others[name] == rate for name, rate in rates.items())


def dropout_rates(model: nn.Module) -> dict[str, float]:
    return {name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}


def four_layers(folder: Path) -> Any:
    """Save and return a base with four different layers."""
    config = BertConfig(vocab_size=200, hidden_size=8, num_hidden_layers=4, num_attention_heads=2, intermediate_size=8)
    model = BertModel(config)
    save_with_wordpiece(model, folder)
    return model


def test_a_shipped_checkpoint_can_be_trained_on() -> None:
    model, _ = Base.find(str(ROOT / "checkpoints" / "cola")).load(AutoModelForSequenceClassification)
    assert model.config.model_type == "bert"


def test_a_head_of_another_shape_is_replaced_by_a_new_one(checkpoint: MakeCheckpoint) -> None:
    base, (encoder, _) = checkpoint("classifier"), Base.find(str(checkpoint("classifier"))).load(AutoModel)
    model, _ = Base.find(str(base)).load(AutoModelForSequenceClassification, num_labels=1)
    assert model.classifier.weight.shape == (1, model.config.hidden_size)
    assert torch.equal(model.get_input_embeddings().weight, encoder.get_input_embeddings().weight)


@pytest.mark.parametrize("model_class", [AutoModel, AutoModelForSequenceClassification])
def test_an_encoder_with_missing_weights_is_refused(
    checkpoint: MakeCheckpoint, tmp_path: Path, model_class: Any
) -> None:
    folder = copy(checkpoint("bare-encoder"), tmp_path / "cut")
    weights = load_file(folder / "model.safetensors")
    part = next(name for name in weights if "layer.1.attention" in name)
    save_file({name: value for name, value in weights.items() if name != part}, folder / "model.safetensors")
    with pytest.raises(CheckpointDamaged, match=f"weights lack .*{part}"):
        Base.find(str(folder)).load(model_class)


def test_a_base_without_tokenizer_is_refused(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    folder = copy(checkpoint("bare-encoder"), tmp_path / "mute")
    for path in folder.iterdir():
        if path.name not in {"config.json", "model.safetensors"}:
            path.unlink()
    with pytest.raises(CheckpointDamaged, match="holds no tokenizer"):
        Base.find(str(folder))


def test_bases_that_are_missing_damaged_or_unsafe_are_refused(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        Base.find(str(tmp_path / "nowhere"))
    planted = pickle_weights(copy(checkpoint("classifier"), tmp_path / "a"), {"x": Planted(tmp_path / "ran")})
    with pytest.raises(CheckpointUnsafe):
        Base.find(str(planted))
    assert not (tmp_path / "ran").exists()
    cut(copy(checkpoint("classifier"), tmp_path / "b") / "model.safetensors", 99)
    with pytest.raises(CheckpointDamaged, match=str(tmp_path / "b")):
        Base.find(str(tmp_path / "b")).load(AutoModelForSequenceClassification)
