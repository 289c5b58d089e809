import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, BertForMaskedLM
from transformers import BertForSequenceClassification as Classifier

from pipelines import golden, local
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.manifest import MANIFEST, Task, read_manifest
from pipelines.checkpoints.verify import verify
from pipelines.engines.settings import EngineSettings
from pipelines.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointNotFound,
    CheckpointUnsafe,
    CheckpointUnsupported,
)
from tests.checkpoint_factory import KINDS, MAX_TOKENS, bert_config, make_checkpoint, save_with_wordpiece
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import (
    WEIGHTS,
    Planted,
    copy,
    cut,
    edit_json,
    edit_weights,
    pickle_weights,
    plain_pickle,
)

TASKS: dict[str, tuple[Task, str, int | None]] = {
    "bi-encoder": ("sts", "bi-encoder", MAX_TOKENS),
    "static": ("sts", "bi-encoder", None),
    "bare-encoder": ("sts", "bi-encoder", MAX_TOKENS),
    "cross-encoder": ("sts", "cross-encoder", MAX_TOKENS),
    "cross-encoder-sigmoid": ("sts", "cross-encoder", MAX_TOKENS),
    "classifier": ("cola", "classifier", MAX_TOKENS),
    "classifier-distilbert": ("cola", "classifier", MAX_TOKENS),
    "extractor": ("qa", "extractor", MAX_TOKENS),
    "extractor-roberta": ("qa", "extractor", MAX_TOKENS),
}
SENTENCES = ["오늘 과제는 코딩 과제입니다.", "The museum is in Busan."]


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "to" / "checkpoint"


@pytest.fixture
def source(checkpoint: MakeCheckpoint, tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: copy(checkpoint(kind), tmp_path / "source")


def refused(source: Path, destination: Path, error: type[CheckpointError], match: str) -> None:
    with pytest.raises(error, match=match):
        import_checkpoint(str(source), destination)
    assert not destination.exists()
    assert list(destination.parent.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_out_verified_and_answers_again(imported: MakeCheckpoint, kind: str) -> None:
    folder = imported(kind)
    manifest = read_manifest(folder)
    task, expected, longest = TASKS[kind]
    assert (manifest.task, manifest.kind, manifest.max_tokens) == (task, expected, longest)
    assert manifest.special_tokens == (kind != "static")
    assert (manifest.name, manifest.base_model, manifest.revision) == (kind, kind, None)
    assert verify(folder, task) == manifest
    assert (folder / "tokenizer.json").is_file()
    assert (folder / WEIGHTS).is_file()
    assert list(folder.rglob("*.bin")) == []
    golden.check(folder, manifest, local.load_model(folder, manifest, EngineSettings()))


def test_the_library_it_came_from_still_loads_it(checkpoint: MakeCheckpoint, imported: MakeCheckpoint) -> None:
    for kind in ("bi-encoder", "static"):
        before, after = (
            SentenceTransformer(str(f), device="cpu").encode(SENTENCES) for f in (checkpoint(kind), imported(kind))
        )
        np.testing.assert_allclose(before, after, rtol=0, atol=1e-6)
    one, other = (CrossEncoder(str(f("cross-encoder-sigmoid")), device="cpu") for f in (checkpoint, imported))
    np.testing.assert_allclose(one.predict([SENTENCES]), other.predict([SENTENCES]), rtol=0, atol=1e-6)
    AutoModelForQuestionAnswering.from_pretrained(imported("extractor"))
    AutoModelForSequenceClassification.from_pretrained(imported("classifier"))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["bi-encoder", "extractor"])
def test_a_zip_is_imported_flat_or_one_level_down(
    checkpoint: MakeCheckpoint, tmp_path: Path, destination: Path, kind: str, nested: bool
) -> None:
    root, inside = (checkpoint(kind).parent, kind) if nested else (checkpoint(kind), ".")
    archive = shutil.make_archive(str(tmp_path / "model"), "zip", root, inside)
    manifest = import_checkpoint(archive, destination)
    assert (manifest.name, manifest.task) == ("model", TASKS[kind][0])
    verify(destination, manifest.task)


@pytest.mark.parametrize("kind", ["extractor", "classifier", "bi-encoder", "static", "cross-encoder"])
def test_pickled_weights_alone_become_safetensors(
    source: Callable[[str], Path], imported: MakeCheckpoint, destination: Path, kind: str
) -> None:
    import_checkpoint(str(pickle_weights(source(kind))), destination)
    assert list(destination.rglob("*.bin")) == []
    assert read_manifest(destination).golden == read_manifest(imported(kind)).golden


def test_what_a_trainer_leaves_beside_the_weights_does_not_hinder(
    source: Callable[[str], Path], destination: Path, tmp_path: Path
) -> None:
    folder = source("classifier")
    plain_pickle(folder / "training_args.bin", Planted(tmp_path / "ran"))
    plain_pickle(folder / "optimizer.pt", Planted(tmp_path / "ran"))
    assert import_checkpoint(str(folder), destination).task == "cola"
    assert sorted(path.name for path in destination.iterdir()) == [
        "config.json",
        MANIFEST,
        WEIGHTS,
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_in_the_format_is_copied_as_it_is(imported: MakeCheckpoint, destination: Path) -> None:
    manifest = import_checkpoint(str(imported("static")), destination)
    assert manifest == read_manifest(imported("static")) == verify(destination, "sts")


def test_a_damaged_checkpoint_in_the_format_is_not_copied(
    imported: MakeCheckpoint, tmp_path: Path, destination: Path
) -> None:
    folder = copy(imported("static"), tmp_path / "source")
    cut(folder / WEIGHTS, 50)
    refused(folder, destination, CheckpointDamaged, WEIGHTS)
    (folder / MANIFEST).write_text("{")
    refused(folder, destination, CheckpointDamaged, MANIFEST)


def test_an_existing_destination_is_left_alone(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
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
def test_cut_weights_are_damage(source: Callable[[str], Path], destination: Path, kind: str, share: float) -> None:
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
def test_weights_that_are_missing_or_of_another_shape_are_damage(
    source: Callable[[str], Path], destination: Path, kind: str, weight: str
) -> None:
    folder = source(kind)
    edit_weights(folder, lambda weights: weights.update({weight: weights[weight][:-1].clone()}))
    if kind != "static":  # its table may have any number of rows
        refused(folder, destination, CheckpointDamaged, "source")
    edit_weights(folder, lambda weights: weights.pop(weight))
    refused(folder, destination, CheckpointDamaged, "source")


def test_weights_that_are_missing_in_a_pickle_are_damage(source: Callable[[str], Path], destination: Path) -> None:
    folder = source("extractor")
    edit_weights(folder, lambda weights: weights.pop("qa_outputs.bias"))
    refused(pickle_weights(folder), destination, CheckpointDamaged, "lack qa_outputs")


def test_a_table_with_fewer_rows_than_the_tokenizer_has_tokens_is_damage(
    source: Callable[[str], Path], destination: Path
) -> None:
    folder = source("static")
    edit_weights(folder, lambda weights: weights.update({"embedding.weight": weights["embedding.weight"][:-1].clone()}))
    refused(folder, destination, CheckpointDamaged, "tokens")


def test_an_encoder_saved_from_another_head_needs_no_pooler(tmp_path: Path, destination: Path) -> None:
    save_with_wordpiece(BertForMaskedLM(bert_config()), tmp_path / "source")
    edit_json(tmp_path / "source" / "config.json", architectures=["BertModel"])
    assert import_checkpoint(str(tmp_path / "source"), destination).kind == "bi-encoder"


@pytest.mark.parametrize("labels", [3, 9])
def test_a_classifier_of_other_than_two_classes_is_unsupported(tmp_path: Path, destination: Path, labels: int) -> None:
    save_with_wordpiece(Classifier(bert_config(num_labels=labels)), tmp_path / "source")
    refused(tmp_path / "source", destination, CheckpointUnsupported, f"{labels} classes")


def test_other_architectures_are_unsupported(tmp_path: Path, destination: Path) -> None:
    save_with_wordpiece(BertForMaskedLM(bert_config()), tmp_path / "source")
    refused(tmp_path / "source", destination, CheckpointUnsupported, "BertForMaskedLM")


def test_a_model_too_short_for_the_windows_is_unsupported(tmp_path: Path, destination: Path) -> None:
    folder = make_checkpoint("extractor", tmp_path / "source")
    edit_json(folder / "tokenizer_config.json", model_max_length=100)
    refused(folder, destination, CheckpointUnsupported, "reads 100 tokens")


def test_the_limit_is_what_both_tokenizer_and_positions_allow(source: Callable[[str], Path], destination: Path) -> None:
    folder = source("bi-encoder")
    edit_json(folder / "tokenizer_config.json", model_max_length=50)
    assert import_checkpoint(str(folder), destination).max_tokens == 50


def test_a_model_that_wants_a_prompt_is_unsupported(source: Callable[[str], Path], destination: Path) -> None:
    folder = source("static")
    config = folder / "config_sentence_transformers.json"
    edit_json(config, prompts={"query": "query: "}, default_prompt_name="query")
    refused(folder, destination, CheckpointUnsupported, "'query: '")
    edit_json(config, default_prompt_name=None)
    import_checkpoint(str(folder), destination)


def test_a_model_without_its_tokenizer_is_damage(source: Callable[[str], Path], destination: Path) -> None:
    folder = source("extractor")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    refused(folder, destination, CheckpointError, "source")


def test_weights_that_give_no_numbers_are_damage(source: Callable[[str], Path], destination: Path) -> None:
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
def test_foreign_modules_are_refused_and_not_loaded(
    source: Callable[[str], Path], imported: MakeCheckpoint, tmp_path: Path, destination: Path, kind: str, error: type
) -> None:
    mark = tmp_path / "ran"
    folder = source("bi-encoder")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = kind
    (folder / "planted.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Module: pass\n")
    (folder / "modules.json").write_text(json.dumps(modules))
    refused(folder, destination, error, r"modules\.json")
    with pytest.raises(error, match=r"modules\.json"):  # nor where a manifest vouches for them
        local.load_model(folder, read_manifest(imported("bi-encoder")), EngineSettings())
    assert not mark.exists()


def test_code_that_a_config_brings_along_is_not_loaded(
    source: Callable[[str], Path], tmp_path: Path, destination: Path
) -> None:
    folder = source("extractor")
    auto = {"AutoConfig": "planted.Config", "AutoModelForQuestionAnswering": "planted.Model"}
    edit_json(folder / "config.json", auto_map=auto, model_type="planted")
    (folder / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    refused(folder, destination, CheckpointDamaged, "source")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_config_that_is_no_json_object_is_damage(
    source: Callable[[str], Path], destination: Path, content: str
) -> None:
    folder = source("extractor")
    (folder / "config.json").write_text(content)
    refused(folder, destination, CheckpointDamaged, r"config\.json")


@pytest.mark.parametrize("content", ["", "[1]", "{", "null", '[{"idx": 0}]'])
def test_a_list_of_modules_that_is_none_is_damage(
    source: Callable[[str], Path], destination: Path, content: str
) -> None:
    folder = source("static")
    (folder / "modules.json").write_text(content)
    refused(folder, destination, CheckpointDamaged, r"modules\.json")


def test_a_folder_without_a_model_is_not_found(tmp_path: Path, destination: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", destination, CheckpointNotFound, r"config\.json")


def test_a_source_that_is_nowhere_is_not_found(tmp_path: Path, destination: Path) -> None:
    refused(tmp_path / "nowhere", destination, CheckpointNotFound, "nowhere")
