import logging
import sys
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, BertForQuestionAnswering
from transformers import BertForSequenceClassification as Classifier

from pipelines.checkpoints.importing import import_checkpoint
from pipelines.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointNotFound,
    CheckpointUnsafe,
    CheckpointUnsupported,
)
from pipelines.format.manifest import read_manifest
from pipelines.format.tokenizer import TextTokenizer
from tests.checkpoint_factory import MAX_TOKENS, bert_config, make_base
from tests.pipelines.checkpoints.damage import WEIGHTS, Planted, cut, edit_json

Save = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("untraced")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base") / "kcbert-like")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "to" / "checkpoint"


@pytest.fixture(params=["pytorch_lightning", "lightning.pytorch"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, type]:
    """Stand-ins for Lightning's classes, by name without module, importable only while a file is written."""
    names = {
        "ModelCheckpoint": f"{request.param}.callbacks.model_checkpoint",
        "AttributeDict": f"{request.param}.utilities.parsing",
    }
    parents = {"ModelCheckpoint": object, "AttributeDict": dict}
    classes = {}
    for name, module in names.items():
        classes[name] = type(name, (parents[name],), {"__module__": module})
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            parent = ".".join(parts[:depth])
            monkeypatch.setitem(sys.modules, parent, sys.modules.get(parent, ModuleType(parent)))
        setattr(sys.modules[module], name, classes[name])
    return classes


def content(model: torch.nn.Module, **more: Any) -> dict[str, Any]:
    """The content of a Lightning file, with the weights under `model.`."""
    weights = OrderedDict((f"model.{key}", value) for key, value in model.state_dict().items())
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 5e-5, "betas": (0.9, 0.999)}]}
    return {
        "epoch": 0,
        "global_step": 1877,
        "pytorch-lightning_version": "1.6.1",
        "state_dict": weights,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "optimizer_states": [optimizer],
        "lr_schedulers": [{"gamma": 0.9, "_step_count": 2}],
        "hparams_name": "args",
        "hyper_parameters": {"pretrained_model_name": "beomi/kcbert-base", "args": Namespace(max_seq_length=128)},
        **more,
    }


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save(content: object, name: str = "epoch=0.ckpt", **options: Any) -> Path:
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return save


def extractor(seed: int = 3) -> BertForQuestionAnswering:
    torch.manual_seed(seed)
    return BertForQuestionAnswering(bert_config()).eval()


def refused(file: Path, base: Path, destination: Path, error: type[CheckpointError], match: str) -> None:
    with pytest.raises(error, match=match):
        import_checkpoint(str(file), destination, base=str(base))
    assert not destination.exists()
    assert list(destination.parent.iterdir()) == []


def test_a_question_answering_file_is_imported_with_all_its_weights(save: Save, base: Path, destination: Path) -> None:
    model = extractor()
    manifest = import_checkpoint(str(save(content(model))), destination, base=str(base))
    assert (manifest.task, manifest.kind, manifest.max_tokens) == ("qa", "extractor", MAX_TOKENS)
    assert manifest.name == "epoch=0 on kcbert-like"
    loaded = AutoModelForQuestionAnswering.from_pretrained(destination).state_dict()
    assert loaded.keys() == model.state_dict().keys()
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("labels", "task"), [(1, "sts"), (2, "cola")])
def test_the_head_of_a_classification_file_decides_the_task(
    save: Save, base: Path, destination: Path, labels: int, task: str
) -> None:
    model = Classifier(bert_config(num_labels=labels)).eval()
    assert import_checkpoint(str(save(content(model))), destination, base=str(base)).task == task
    loaded = AutoModelForSequenceClassification.from_pretrained(destination)
    np.testing.assert_array_equal(loaded.classifier.weight.detach(), model.classifier.weight.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_number_format_of_weights_comes_from_the_file_and_not_from_the_base(
    save: Save, tmp_path: Path, destination: Path, dtype: torch.dtype
) -> None:
    base = make_base(tmp_path / "base")
    edit_json(base / "config.json", dtype="bfloat16")
    model = extractor().to(dtype)
    import_checkpoint(str(save(content(model))), destination, base=str(base))
    loaded = load_file(destination / WEIGHTS)
    assert {value.dtype for value in loaded.values()} == {dtype}
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())


def test_classes_of_lightning_in_a_file_are_ignored(
    package: dict[str, type], save: Save, base: Path, destination: Path
) -> None:
    attributes = package["AttributeDict"](learning_rate=5e-5)
    kept = {"monitor": "val_loss", "best_model_score": torch.tensor(0.5), "best_model_path": "epoch=0.ckpt"}
    old = content(extractor(), callbacks={package["ModelCheckpoint"]: kept}, hyper_parameters=attributes)
    path = save(old)
    for name in [name for name in sys.modules if name.split(".")[0] == package["ModelCheckpoint"].__module__]:
        del sys.modules[name]
    assert import_checkpoint(str(path), destination, base=str(base)).task == "qa"


def test_older_files_of_the_legacy_format_are_read(save: Save, base: Path, destination: Path) -> None:
    path = save(content(extractor()), _use_new_zipfile_serialization=False)
    assert import_checkpoint(str(path), destination, base=str(base)).task == "qa"


def test_position_ids_and_an_unused_pooler_may_be_left_over(save: Save, base: Path, destination: Path) -> None:
    file = content(extractor())
    file["state_dict"]["model.bert.embeddings.position_ids"] = torch.arange(MAX_TOKENS)[None]
    file["state_dict"]["model.bert.pooler.dense.weight"] = torch.ones(32, 32)
    file["state_dict"]["metric.total"] = torch.ones(1)
    import_checkpoint(str(save(file)), destination, base=str(base))


def test_the_tokenizer_of_the_base_keeps_korean_and_case(save: Save, base: Path, destination: Path) -> None:
    assert sorted(path.name for path in base.iterdir()) == ["config.json", "tokenizer_config.json", "vocab.txt"]
    import_checkpoint(str(save(content(extractor()))), destination, base=str(base))
    tokenizer = TextTokenizer.load(destination, read_manifest(destination)).tokenizer
    assert tokenizer.encode("각낱말 값이 The Museum", add_special_tokens=False).tokens == [
        *("각", "##낱", "##말", "값", "##이", "The"),
        *("M", "##u", "##s", "##e", "##u", "##m"),
    ]


def test_a_file_with_planted_code_is_refused_and_the_code_does_not_run(
    save: Save, base: Path, destination: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    refused(save(content(extractor(), callbacks=Planted(mark))), base, destination, CheckpointUnsafe, "epoch=0")
    assert not mark.exists()


def test_a_planted_pickle_in_the_base_is_refused(save: Save, tmp_path: Path, destination: Path) -> None:
    base = make_base(tmp_path / "base")
    torch.save(Planted(tmp_path / "ran"), base / "pytorch_model.bin")
    refused(save(content(extractor())), base, destination, CheckpointUnsafe, r"pytorch_model\.bin")
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_not_found(base: Path, tmp_path: Path, destination: Path) -> None:
    refused(tmp_path / "nothing.ckpt", base, destination, CheckpointNotFound, "nothing")


def test_a_truncated_file_is_damaged(save: Save, base: Path, destination: Path) -> None:
    path = save(content(extractor()))
    cut(path, path.stat().st_size // 2)
    refused(path, base, destination, CheckpointDamaged, "epoch=0")


@pytest.mark.parametrize("other", [{}, [], {"state_dict": None}, {"state_dict": []}])
def test_a_file_without_a_state_dict_is_damaged(save: Save, base: Path, destination: Path, other: object) -> None:
    refused(save(other), base, destination, CheckpointDamaged, "no state_dict")


@pytest.mark.parametrize("prefix", ["", "model._orig_mod.", "model.module.", "_forward_module.net."])
def test_prefixes_of_wrappers_are_stripped_and_logged(
    save: Save, base: Path, destination: Path, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = extractor()
    state = {f"{prefix}{key}": value for key, value in model.state_dict().items()}
    with caplog.at_level(logging.INFO):
        import_checkpoint(str(save({"state_dict": state})), destination, base=str(base))
    assert (f"stripped {prefix!r}" in caplog.text) == bool(prefix)
    loaded = load_file(destination / WEIGHTS)
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("key", [None, "model_state_dict", "module", "net"])
@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin"])
def test_plain_files_of_weights_are_imported(
    save: Save, base: Path, destination: Path, key: str | None, name: str
) -> None:
    state = extractor().state_dict()
    file = save({key: state, "step": 3} if key else state, name)
    assert import_checkpoint(str(file), destination, base=str(base)).task == "qa"


@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_lone_file_of_safetensors_is_imported(base: Path, tmp_path: Path, destination: Path, prefix: str) -> None:
    state = extractor().state_dict()
    save_file({f"{prefix}{key}": value for key, value in state.items()}, tmp_path / "my.safetensors")
    assert import_checkpoint(str(tmp_path / "my.safetensors"), destination, base=str(base)).name == "my on kcbert-like"
    loaded = load_file(destination / WEIGHTS)
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_a_lone_file_of_safetensors_that_is_missing_truncated_or_a_part_is_refused(
    base: Path, tmp_path: Path, destination: Path
) -> None:
    file = tmp_path / "my.safetensors"
    refused(file, base, destination, CheckpointNotFound, "no such file")
    save_file(extractor().state_dict(), file)
    part = file.rename(tmp_path / "model-00001-of-00002.safetensors")
    refused(part, base, destination, CheckpointUnsupported, "part of a model's weights; import the folder")
    part.rename(file)
    cut(file, file.stat().st_size // 2)
    refused(file, base, destination, CheckpointDamaged, "my")


def test_settings_that_are_not_plain_data_do_not_stop_an_import(save: Save, base: Path, destination: Path) -> None:
    settings = {"path": Path("data"), "lr": np.float64(5e-5), "config": bert_config(), "backbone": extractor().bert}
    file = save(content(extractor(), hyper_parameters=settings))
    assert import_checkpoint(str(file), destination, base=str(base)).task == "qa"


@pytest.mark.parametrize("inside", [None, "model", "state_dict"])
def test_a_whole_module_is_refused_by_its_class(save: Save, base: Path, destination: Path, inside: str | None) -> None:
    file = save({inside: extractor()} if inside else extractor(), "model.pt")
    refused(file, base, destination, CheckpointUnsafe, r"modeling_bert\.BertForQuestionAnswering")


def test_a_base_for_a_whole_model_is_refused(base: Path, destination: Path) -> None:
    refused(base, base, destination, CheckpointUnsupported, "no use for a base")


@pytest.mark.parametrize("labels", [3, None])
def test_a_head_that_is_not_served_is_unsupported(
    save: Save, base: Path, destination: Path, labels: int | None
) -> None:
    model = Classifier(bert_config(num_labels=labels or 2))
    file = content(model if labels else model.bert)
    refused(save(file), base, destination, CheckpointUnsupported, "no head")


def test_weights_of_other_shapes_than_the_base_are_damaged(save: Save, base: Path, destination: Path) -> None:
    other = BertForQuestionAnswering(bert_config(hidden_size=16))
    refused(save(content(other)), base, destination, CheckpointDamaged, "shapes")


@pytest.mark.parametrize(("layers", "match"), [(1, "lack"), (3, "no place")])
def test_weights_with_fewer_or_more_layers_than_the_base_are_damaged(
    save: Save, base: Path, destination: Path, layers: int, match: str
) -> None:
    other = BertForQuestionAnswering(bert_config(num_hidden_layers=layers))
    refused(save(content(other)), base, destination, CheckpointDamaged, match)


def test_a_state_dict_without_tensors_is_refused(save: Save, base: Path, destination: Path) -> None:
    for state in ({"model.qa_outputs.bias": 3}, {"model.classifier.bias": 3}, {1: torch.ones(2)}):
        refused(save({"state_dict": state}), base, destination, CheckpointError, "epoch=0")


def test_a_base_without_a_vocabulary_is_damaged(save: Save, tmp_path: Path, destination: Path) -> None:
    base = make_base(tmp_path / "base")
    (base / "vocab.txt").unlink()
    refused(save(content(extractor())), base, destination, CheckpointDamaged, "vocabulary")


def test_a_file_without_its_base_is_unsupported(save: Save, tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnsupported, match=r"base model .*: munjang import FILE FOLDER --base BASE"):
        import_checkpoint(str(save(content(extractor()))), tmp_path / "to")
