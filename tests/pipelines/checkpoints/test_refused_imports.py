import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import BertForMaskedLM
from transformers import BertForSequenceClassification as Classifier

from pipelines.checkpoints import in_process
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.engines.choice import EngineSettings
from pipelines.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointNotFound,
    CheckpointUnsafe,
    CheckpointUnsupported,
)
from pipelines.format.manifest import read_manifest
from pipelines.format.windows import WindowSettings
from tests.checkpoint_factory import bert_config, make_checkpoint, save_with_wordpiece
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import (
    WEIGHTS,
    Planted,
    cut,
    edit_json,
    edit_weights,
    pickle_weights,
    plain_pickle,
    refused,
)

pytestmark = pytest.mark.usefixtures("untraced")


@pytest.mark.parametrize("prefix", ["module.", "model._orig_mod."])
def test_weights_under_a_wrappers_prefix_are_refused_with_the_prefix_and_imported_as_a_file(
    source: Callable[[str], Path], destination: Path, prefix: str
) -> None:
    folder = source("classifier")
    plain = import_checkpoint(str(folder), destination.with_name("plain"))

    def wrap(weights: dict[str, torch.Tensor]) -> None:
        for name in list(weights):
            weights[prefix + name] = weights.pop(name)

    edit_weights(folder, wrap)
    with pytest.raises(CheckpointDamaged, match=rf"its weights lack bert\..*under the prefix '{prefix}' of a wrapper"):
        import_checkpoint(str(folder), destination)
    manifest = import_checkpoint(str(folder / WEIGHTS), destination, base=str(folder))
    assert [golden.output for golden in manifest.golden] == [golden.output for golden in plain.golden]


@pytest.mark.parametrize("name", [WEIGHTS, "pytorch_model.bin"])
def test_a_pointer_of_git_lfs_is_refused_by_the_file(
    source: Callable[[str], Path], destination: Path, name: str
) -> None:
    folder = source("classifier")
    (folder / WEIGHTS).unlink()
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    refused(folder, destination, CheckpointDamaged, rf"{name}: a pointer of Git LFS .* git lfs pull")


@pytest.mark.parametrize(
    ("name", "command"),
    [("__0_0.distcp", "dcp_to_torch"), ("zero_pp_rank_0_mp_rank_00_model_states.pt", "zero_to_fp32")],
)
def test_the_parts_of_a_distributed_checkpoint_are_refused_with_the_command_that_joins_them(
    tmp_path: Path, destination: Path, name: str, command: str
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / name).write_bytes(b"")
    destination.parent.mkdir()
    refused(tmp_path / "source", destination, CheckpointUnsupported, rf"{name}: a part of a model .*{command}")


def test_a_config_without_an_architecture_is_refused_with_what_to_write(
    source: Callable[[str], Path], destination: Path
) -> None:
    folder = source("bare-encoder")
    edit_json(folder / "config.json", architectures=None)
    refused(folder, destination, CheckpointUnsupported, r'config.json: names no architecture; .*"architectures": \[')


def test_an_existing_destination_is_refused_and_unchanged(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(CheckpointUnsupported, match="exists already"):
        import_checkpoint(str(checkpoint("static")), tmp_path / "taken")
    assert list((tmp_path / "taken").iterdir()) == []


def test_a_model_for_another_task_is_refused(checkpoint: MakeCheckpoint, destination: Path) -> None:
    with pytest.raises(CheckpointUnsupported, match="for qa, not for cola"):
        import_checkpoint(str(checkpoint("extractor")), destination, task="cola")
    assert import_checkpoint(str(checkpoint("extractor")), destination, task="qa").task == "qa"


@pytest.mark.parametrize("kind", ["extractor", "classifier", "cross-encoder", "bi-encoder", "bare-encoder", "static"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.9])
def test_truncated_weights_are_damaged(
    source: Callable[[str], Path], destination: Path, kind: str, share: float
) -> None:
    folder = source(kind)
    cut(folder / WEIGHTS, int((folder / WEIGHTS).stat().st_size * share))
    refused(folder, destination, CheckpointDamaged, "source")


@pytest.mark.parametrize(
    ("kind", "weight"),
    [
        ("extractor", "qa_outputs.weight"),
        ("classifier", "classifier.bias"),
        ("cross-encoder", "bert.encoder.layer.1.output.dense.weight"),
        ("bi-encoder", "encoder.layer.1.output.dense.weight"),
        ("bare-encoder", "embeddings.LayerNorm.bias"),
        ("static", "embedding.weight"),
    ],
)
def test_weights_that_are_missing_or_of_another_shape_are_damaged(
    source: Callable[[str], Path], destination: Path, kind: str, weight: str
) -> None:
    folder = source(kind)
    edit_weights(folder, lambda weights: weights.update({weight: weights[weight][:-1].clone()}))
    if kind != "static":  # its table may have any number of rows
        refused(folder, destination, CheckpointDamaged, "source")
    edit_weights(folder, lambda weights: weights.pop(weight))
    refused(folder, destination, CheckpointDamaged, "source")


def test_weights_that_are_missing_in_a_pickle_are_damaged(source: Callable[[str], Path], destination: Path) -> None:
    folder = source("extractor")
    edit_weights(folder, lambda weights: weights.pop("qa_outputs.bias"))
    refused(pickle_weights(folder), destination, CheckpointDamaged, "lack qa_outputs")


def test_an_embedding_table_with_fewer_rows_than_tokens_is_damaged(
    source: Callable[[str], Path], destination: Path
) -> None:
    folder = source("static")
    edit_weights(folder, lambda weights: weights.update({"embedding.weight": weights["embedding.weight"][:-1].clone()}))
    refused(folder, destination, CheckpointDamaged, "token ids")


def test_an_encoder_saved_from_another_head_needs_no_pooler(tmp_path: Path, destination: Path) -> None:
    save_with_wordpiece(BertForMaskedLM(bert_config()), tmp_path / "source")
    edit_json(tmp_path / "source" / "config.json", architectures=["BertModel"])
    assert import_checkpoint(str(tmp_path / "source"), destination).kind == "bi-encoder"


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("labels", [0, 3, 9])
def test_a_classifier_without_classes_or_with_more_than_two_is_unsupported(
    tmp_path: Path, destination: Path, labels: int
) -> None:
    save_with_wordpiece(Classifier(bert_config(num_labels=labels)), tmp_path / "source")
    refused(
        tmp_path / "source",
        destination,
        CheckpointUnsupported,
        f"{labels} outputs{f'.*LABEL_{labels - 1}' if labels else ''}",
    )


def test_other_architectures_are_unsupported(tmp_path: Path, destination: Path) -> None:
    save_with_wordpiece(BertForMaskedLM(bert_config()), tmp_path / "source")
    refused(tmp_path / "source", destination, CheckpointUnsupported, "BertForMaskedLM")


def test_a_model_too_short_for_the_windows_is_unsupported(tmp_path: Path, destination: Path) -> None:
    folder = make_checkpoint("extractor", tmp_path / "source")
    edit_json(folder / "tokenizer_config.json", model_max_length=100)
    refused(folder, destination, CheckpointUnsupported, "reads 100 tokens, less than max_seq_length 128")
    windows = WindowSettings(max_seq_length=100)
    assert import_checkpoint(str(folder), destination, windows=windows).windows == windows


def test_the_tokenizer_may_lower_the_token_limit(source: Callable[[str], Path], destination: Path) -> None:
    folder = source("bi-encoder")
    edit_json(folder / "tokenizer_config.json", model_max_length=50)
    assert import_checkpoint(str(folder), destination).max_tokens == 50


def test_a_model_without_its_tokenizer_is_refused(source: Callable[[str], Path], destination: Path) -> None:
    folder = source("extractor")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    refused(folder, destination, CheckpointError, "source")


def test_weights_that_give_nan_are_damaged(source: Callable[[str], Path], destination: Path) -> None:
    folder = source("classifier")
    edit_weights(folder, lambda weights: weights["classifier.bias"].fill_(torch.nan))
    refused(folder, destination, CheckpointDamaged, "golden")


@pytest.mark.parametrize("packed", ["folder", "zip"])
def test_a_planted_pickle_is_refused_and_does_not_run(
    source: Callable[[str], Path], tmp_path: Path, destination: Path, packed: str
) -> None:
    mark = tmp_path / "ran"
    folder = pickle_weights(source("extractor"), {"more": Planted(mark)})
    if packed == "zip":
        folder = Path(shutil.make_archive(str(tmp_path / "model"), "zip", folder))
    refused(folder, destination, CheckpointUnsafe, r"pytorch_model\.bin")
    assert not mark.exists()


def test_a_planted_pickle_beside_safetensors_is_refused_too(
    source: Callable[[str], Path], tmp_path: Path, destination: Path
) -> None:
    folder = source("bi-encoder")
    plain_pickle(folder / "1_Pooling" / "pytorch_model.bin", Planted(tmp_path / "ran"))
    refused(folder, destination, CheckpointUnsafe, r"pytorch_model\.bin")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("planted.Module", CheckpointUnsafe),
        ("os.system", CheckpointUnsafe),
        ("sentence_transformersx.Module", CheckpointUnsafe),
        ("sentence_transformers.sentence_transformer.modules.bow.BoW", CheckpointUnsupported),
    ],
)
def test_modules_from_outside_the_library_are_refused_and_not_loaded(
    source: Callable[[str], Path], imported: MakeCheckpoint, tmp_path: Path, destination: Path, kind: str, error: type
) -> None:
    mark = tmp_path / "ran"
    folder = source("bi-encoder")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = kind
    (folder / "planted.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Module: pass\n")
    (folder / "modules.json").write_text(json.dumps(modules))
    refused(folder, destination, error, r"modules\.json")
    with pytest.raises(error, match=r"modules\.json"):  # also if there is a manifest
        in_process.load_model(folder, read_manifest(imported("bi-encoder")), EngineSettings(backend="torch"))
    assert not mark.exists()


def test_code_that_a_config_names_is_not_loaded(
    source: Callable[[str], Path], tmp_path: Path, destination: Path
) -> None:
    folder = source("extractor")
    auto = {"AutoConfig": "planted.Config", "AutoModelForQuestionAnswering": "planted.Model"}
    edit_json(folder / "config.json", auto_map=auto, model_type="planted")
    (folder / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    refused(folder, destination, CheckpointUnsupported, "model_type 'planted'")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_config_that_is_not_a_json_object_is_damaged(
    source: Callable[[str], Path], destination: Path, content: str
) -> None:
    folder = source("extractor")
    (folder / "config.json").write_text(content)
    refused(folder, destination, CheckpointDamaged, r"config\.json")


@pytest.mark.parametrize("content", ["", "[1]", "{", "null", '[{"idx": 0}]'])
def test_an_invalid_list_of_modules_is_damaged(source: Callable[[str], Path], destination: Path, content: str) -> None:
    folder = source("static")
    (folder / "modules.json").write_text(content)
    refused(folder, destination, CheckpointDamaged, r"modules\.json")


def test_a_folder_without_a_model_is_not_found(tmp_path: Path, destination: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", destination, CheckpointNotFound, r"config\.json")


def test_a_source_that_does_not_exist_is_not_found(tmp_path: Path, destination: Path) -> None:
    refused(tmp_path / "nowhere", destination, CheckpointNotFound, "nowhere")
