"""Heads of another number or shape of outputs than is served are refused by the name of the weight."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as library

from pipelines.checkpoints.heads import architecture, refuse_other_spans
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.kinds import CLASSIFIER, EXTRACTOR
from tests.checkpoint_factory import bert_config, make_base, save_with_wordpiece, wordpiece
from tests.pipelines.checkpoints.damage import edit_json, edit_weights, refused

pytestmark = pytest.mark.usefixtures("untraced")

SIZES: dict[str, Any] = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
IDS = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3}
CONFIGS: dict[str, Callable[..., library.PreTrainedConfig]] = {
    "bert": lambda **more: library.BertConfig(**SIZES, **more),
    "distilbert": lambda **more: library.DistilBertConfig(vocab_size=100, dim=32, n_layers=1, n_heads=2, **more),
    "modernbert": lambda **more: library.ModernBertConfig(**SIZES, **IDS, **more),
    "gpt2": lambda **more: library.GPT2Config(vocab_size=100, n_embd=32, n_layer=1, n_head=2, **more),
}


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("bert", {"qa_outputs.weight", "qa_outputs.bias"}),
        ("distilbert", {"qa_outputs.weight", "qa_outputs.bias"}),
        ("modernbert", {"classifier.weight", "classifier.bias"}),
        ("gpt2", {"qa_outputs.weight", "qa_outputs.bias"}),
    ],
)
def test_the_head_for_question_answering_is_found_in_every_family(tmp_path: Path, family: str, names: set[str]) -> None:
    CONFIGS[family]().save_pretrained(tmp_path)
    assert architecture(EXTRACTOR, tmp_path).outputs == names


def test_the_head_for_classification_is_what_grows_with_the_number_of_labels(tmp_path: Path) -> None:
    CONFIGS["distilbert"]().save_pretrained(tmp_path)
    assert architecture(CLASSIFIER, tmp_path).outputs == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize(("family", "key"), [("bert", "qa_out"), ("distilbert", "qa_out"), ("modernbert", "cl")])
def test_a_config_with_other_than_two_outputs_is_refused_with_the_key_and_the_remedy(
    tmp_path: Path, family: str, key: str, labels: int
) -> None:
    CONFIGS[family](num_labels=labels).save_pretrained(tmp_path)
    with pytest.raises(CheckpointUnsupported, match=rf"{key}.*\.weight {labels} output.*set num_labels to 2"):
        refuse_other_spans(tmp_path)


@pytest.mark.parametrize(("family", "labels"), [("bert", 2), ("gpt2", 3)])
def test_a_config_whose_model_has_two_outputs_passes_whatever_its_labels(
    tmp_path: Path, family: str, labels: int
) -> None:
    CONFIGS[family](num_labels=labels).save_pretrained(tmp_path)
    refuse_other_spans(tmp_path)


def test_an_import_refuses_a_head_for_question_answering_with_three_outputs(tmp_path: Path, destination: Path) -> None:
    save_with_wordpiece(library.BertForQuestionAnswering(bert_config(num_labels=3)), tmp_path / "source")
    refused(tmp_path / "source", destination, CheckpointUnsupported, r"config\.json: gives qa_outputs.* 3 outputs")


@pytest.mark.parametrize("head", ["BertForQuestionAnswering", "BertForSequenceClassification"])
def test_weights_of_another_shape_than_by_the_config_are_refused_with_both_shapes(
    tmp_path: Path, destination: Path, head: str
) -> None:
    model = getattr(library, head)(bert_config())
    name = next(name for name in model.state_dict() if name.startswith(("qa_outputs.w", "classifier.w")))
    save_with_wordpiece(model, tmp_path / "source")
    edit_weights(tmp_path / "source", lambda weights: weights.update({name: torch.ones(3, 32)}))
    refused(tmp_path / "source", destination, CheckpointDamaged, rf"{name} of the shape \(3, 32\), .* \(2, 32\)")


def test_an_encoder_of_sentences_of_another_shape_is_refused_with_both_shapes(
    tmp_path: Path, destination: Path
) -> None:
    save_with_wordpiece(library.BertModel(bert_config()), tmp_path / "source")
    edit_json(tmp_path / "source" / "config.json", intermediate_size=64)
    refused(tmp_path / "source", destination, CheckpointDamaged, r"of the shape \(32, 48\), .* \(32, 64\)")


def test_a_head_that_searches_with_beams_is_refused_by_its_class(tmp_path: Path, destination: Path) -> None:
    config = library.XLNetConfig(vocab_size=700, d_model=32, n_layer=1, n_head=2, d_inner=48)
    save_with_wordpiece(library.XLNetForQuestionAnswering(config), tmp_path / "source")
    refused(tmp_path / "source", destination, CheckpointUnsupported, "XLNetForQuestionAnswering searches .* beams")


@pytest.mark.parametrize("rows", [1, 3])
def test_a_file_with_another_head_for_question_answering_is_refused_with_its_shape(
    tmp_path: Path, destination: Path, rows: int
) -> None:
    model = library.BertForQuestionAnswering(bert_config(num_labels=rows))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "my.ckpt")
    with pytest.raises(CheckpointUnsupported, match=rf"qa_outputs\.weight has the shape \({rows}, 32\)"):
        import_checkpoint(str(tmp_path / "my.ckpt"), destination, base=str(make_base(tmp_path / "base")))


@pytest.mark.parametrize("family", ["DistilBert", "Bert"])
def test_a_file_is_imported_on_a_base_with_three_labels_or_of_a_family_that_must_have_two(
    tmp_path: Path, destination: Path, family: str
) -> None:
    base = make_base(tmp_path / "base")
    config: library.PreTrainedConfig = bert_config(num_labels=3)
    if family == "DistilBert":
        config = library.DistilBertConfig(vocab_size=len(wordpiece(base)), dim=32, hidden_dim=48, n_layers=2, n_heads=2)
    config.architectures = [f"{family}ForMaskedLM"]
    config.save_pretrained(base)
    config.num_labels = 2
    model = getattr(library, f"{family}ForQuestionAnswering")(config)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "my.ckpt")
    assert import_checkpoint(str(tmp_path / "my.ckpt"), destination, base=str(base)).kind == "extractor"


def test_a_file_with_a_head_of_its_own_is_refused_with_the_names_of_both(tmp_path: Path, destination: Path) -> None:
    weights = library.BertModel(bert_config(), add_pooling_layer=False).state_dict()
    state = {f"model.bert.{name}": value for name, value in weights.items()} | {"model.fc.weight": torch.ones(2, 32)}
    torch.save({"state_dict": state}, tmp_path / "my.ckpt")
    why = r"has qa_outputs\.bias, qa_outputs\.weight, the file has not; it has fc\.weight instead"
    with pytest.raises(CheckpointUnsupported, match=why):
        import_checkpoint(str(tmp_path / "my.ckpt"), destination, base=str(make_base(tmp_path / "base")))


def test_a_file_with_weights_under_several_names_is_refused_with_the_names(tmp_path: Path, destination: Path) -> None:
    state = library.BertForQuestionAnswering(bert_config()).state_dict()
    torch.save({"generator": state, "critic": state, "epoch": 3}, tmp_path / "my.pt")
    with pytest.raises(CheckpointUnsupported, match=r"under several names \(generator, critic\)"):
        import_checkpoint(str(tmp_path / "my.pt"), destination, base=str(make_base(tmp_path / "base")))
