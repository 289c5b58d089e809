from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForQuestionAnswering, AutoModelForSequenceClassification, BertForMaskedLM

from pipelines.checkpoints.adapters import write_merged
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.errors import CheckpointDamaged, CheckpointError, CheckpointNotFound, CheckpointUnsupported
from tests.checkpoint_factory import bert_config, make_checkpoint, save_with_wordpiece, wordpiece
from tests.pipelines.checkpoints.damage import Planted, edit_json

pytestmark = [
    pytest.mark.usefixtures("untraced"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
WEIGHTS = "adapter_model.safetensors"
CLASSES = {
    "SEQ_CLS": AutoModelForSequenceClassification,
    "QUESTION_ANS": AutoModelForQuestionAnswering,
    "FEATURE_EXTRACTION": AutoModel,
}
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model without a pooler's use: classifiers made of it have a new head."""
    folder = tmp_path_factory.mktemp("base") / "bert-like"
    torch.manual_seed(1)
    model = BertForMaskedLM(bert_config())
    model.bert = type(model.bert)(bert_config(), add_pooling_layer=True)
    save_with_wordpiece(model, folder)
    return folder


@pytest.fixture
def make(base: Path, tmp_path: Path) -> Make:
    """A function that writes an adapter with random numbers, as `PeftModel.save_pretrained` does."""

    def make(task: str, config: type[peft.PeftConfig] = peft.LoraConfig, labels: int = 2, **settings: Any) -> Path:
        torch.manual_seed(2)
        options = {"num_labels": labels} if task == "SEQ_CLS" else {}
        model = CLASSES[task].from_pretrained(base, **options)
        modules = {"target_modules": ["query", "value"], **settings}
        wrapped = peft.get_peft_model(model, config(task_type=task, **modules))
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.3)
        wrapped.save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter"

    return make


def outputs(model: torch.nn.Module, base: Path) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        return model.eval()(**wordpiece(base)("오늘 과제는 The museum", return_tensors="pt"))[0].numpy()


def refused(adapter: Path, destination: Path, error: type[CheckpointError], match: str, **options: Any) -> None:
    with pytest.raises(error, match=match):
        import_checkpoint(str(adapter), destination, **options)
    assert not destination.exists()


LORA: list[dict[str, Any]] = [
    {"r": 4, "lora_alpha": 16},
    {"r": 4, "use_rslora": True},
    {"r": 4, "use_dora": True},
    {"r": 2, "target_modules": ["query", "key", "dense"], "bias": "lora_only", "rank_pattern": {"query": 3}},
    {"config": peft.LoHaConfig, "r": 2},
    {"config": peft.IA3Config, "feedforward_modules": []},
    {"config": peft.AdaLoraConfig, "init_r": 4, "target_r": 2, "total_step": 10},
    {"config": peft.LoKrConfig, "r": 2},
    {"config": peft.OFTConfig, "r": 0, "oft_block_size": 4},
]


@pytest.mark.parametrize("settings", LORA)
@pytest.mark.parametrize("task", CLASSES)
def test_the_merged_model_gives_what_peft_gives(
    make: Make, base: Path, tmp_path: Path, settings: dict[str, Any], task: str
) -> None:
    adapter = make(task, **settings)
    plain = peft.PeftModel.from_pretrained(CLASSES[task].from_pretrained(base), adapter)
    write_merged(adapter, base, tmp_path / "merged")
    merged = CLASSES[task].from_pretrained(tmp_path / "merged")
    np.testing.assert_allclose(outputs(merged, base), outputs(plain, base), atol=2e-5)
    untouched = CLASSES[task].from_pretrained(base)
    assert np.abs(outputs(merged, base) - outputs(untouched, base)).max() > 0.05


@pytest.mark.parametrize(("labels", "kind"), [(1, "cross-encoder"), (2, "classifier")])
def test_an_adapter_is_imported_with_its_head_on_the_base_that_it_names(
    make: Make, base: Path, destination: Path, labels: int, kind: str
) -> None:
    adapter = make("SEQ_CLS", labels=labels)
    manifest = import_checkpoint(str(adapter), destination)
    assert (manifest.kind, manifest.name) == (kind, "adapter on bert-like")
    head = load_file(adapter / WEIGHTS)["base_model.model.classifier.weight"]
    assert torch.equal(load_file(destination / "model.safetensors")["classifier.weight"], head)


def test_a_bi_encoder_keeps_the_modules_of_its_base(make: Make, base: Path, destination: Path, tmp_path: Path) -> None:
    adapter = make("FEATURE_EXTRACTION")
    sentences = make_checkpoint("bi-encoder", tmp_path / "sentences")
    manifest = import_checkpoint(str(adapter), destination, base=str(sentences))
    assert manifest.kind == "bi-encoder"
    assert (destination / "1_Pooling" / "config.json").is_file()


def test_base_overrides_the_name_in_the_adapter(make: Make, base: Path, destination: Path) -> None:
    adapter = make("QUESTION_ANS")
    edit_json(adapter / "adapter_config.json", base_model_name_or_path="/nowhere/model")
    refused(adapter, destination, CheckpointNotFound, "--base")
    edit_json(adapter / "adapter_config.json", base_model_name_or_path=None)
    refused(adapter, destination, CheckpointUnsupported, "--base")
    assert import_checkpoint(str(adapter), destination, base=str(base)).kind == "extractor"


def test_pickled_adapters_are_read_and_planted_code_is_refused(make: Make, destination: Path, tmp_path: Path) -> None:
    adapter = make("QUESTION_ANS")
    weights = load_file(adapter / WEIGHTS)
    (adapter / WEIGHTS).unlink()
    torch.save({**weights, "more": Planted(tmp_path / "ran")}, adapter / "adapter_model.bin")
    refused(adapter, destination, CheckpointError, r"adapter_model\.bin.*posix\.system")
    assert not (tmp_path / "ran").exists()
    torch.save(weights, adapter / "adapter_model.bin")
    assert import_checkpoint(str(adapter), destination).kind == "extractor"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING"),
        ({"task_type": "CAUSAL_LM"}, "CAUSAL_LM"),
        ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, "megatron_config"),
        ({"setting_of_the_future": 3}, "setting_of_the_future"),
    ],
)
def test_what_cannot_be_merged_is_refused_by_name(
    make: Make, destination: Path, changes: dict[str, Any], match: str
) -> None:
    adapter = make("SEQ_CLS")
    edit_json(adapter / "adapter_config.json", **changes)
    refused(adapter, destination, CheckpointUnsupported, match)


@pytest.mark.parametrize("lost", ["classifier.weight", "layer.1.attention.self.query.lora_A.weight"])
def test_an_adapter_without_one_of_its_weights_is_damaged(make: Make, destination: Path, lost: str) -> None:
    adapter = make("SEQ_CLS")
    weights = {key: value for key, value in load_file(adapter / WEIGHTS).items() if not key.endswith(lost)}
    save_file(weights, adapter / WEIGHTS)
    refused(adapter, destination, CheckpointDamaged, "weight")


def test_a_weight_without_a_place_is_damaged(make: Make, destination: Path) -> None:
    adapter = make("SEQ_CLS")
    weights = load_file(adapter / WEIGHTS)
    extra = {key.replace("layer.1.", "layer.7."): value.clone() for key, value in weights.items()}
    save_file({**weights, **extra}, adapter / WEIGHTS)
    refused(adapter, destination, CheckpointDamaged, "no place for")


def test_an_adapter_inside_of_a_model_is_refused(make: Make, destination: Path, tmp_path: Path) -> None:
    folder = make_checkpoint("classifier", tmp_path / "model")
    make("SEQ_CLS").rename(folder / "0_Transformer")
    refused(folder, destination, CheckpointUnsupported, "inside of a model")
