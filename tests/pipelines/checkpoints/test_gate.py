from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BigBirdConfig,
    BigBirdForSequenceClassification,
    ConvBertConfig,
    ConvBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2Model,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from pipelines.checkpoints import gate, golden
from pipelines.checkpoints.gate import probes_of
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.in_process import load_model, token_batches
from pipelines.engines.choice import REFERENCE
from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import KIND_SPECS, Manifest, read_manifest
from tests.checkpoint_factory import MAX_TOKENS, SIZES
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy, edit_json
from tests.pipelines.checkpoints.small_tokenizers import byte_level

pytestmark = pytest.mark.usefixtures("untraced")

KINDS = ("bi-encoder", "cross-encoder", "classifier", "extractor", "static")


def with_tokenizer_of(model: Any, source: Path, folder: Path) -> Path:
    """The model's folder, with the tokenizer of another checkpoint."""
    model.eval().save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def save_decoder(folder: Path, model_class: type[PreTrainedModel], **more: Any) -> Path:
    """A GPT-2 that has no pad token, and a tokenizer without one."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level(), eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(1)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": MAX_TOKENS, "initializer_range": 0.3}
    config = GPT2Config(vocab_size=len(tokenizer), eos_token_id=2, bos_token_id=0, **sizes, **more)
    model_class(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def convbert(checkpoint: MakeCheckpoint, tmp_path: Path) -> Path:
    """A classifier whose convolutions run over padded tokens."""
    source = checkpoint("classifier")
    torch.manual_seed(1)
    config = ConvBertConfig(
        vocab_size=AutoTokenizer.from_pretrained(source).vocab_size,
        embedding_size=32,
        head_ratio=2,
        conv_kernel_size=3,
        max_position_embeddings=MAX_TOKENS,
        **SIZES | {"num_attention_heads": 4},
    )
    return with_tokenizer_of(ConvBertForSequenceClassification(config), source, tmp_path / "convbert")


@pytest.fixture
def bigbird(checkpoint: MakeCheckpoint, tmp_path: Path) -> Path:
    """A classifier that has sparse attention for long texts only."""
    source = checkpoint("classifier")
    torch.manual_seed(1)
    config = BigBirdConfig(
        vocab_size=AutoTokenizer.from_pretrained(source).vocab_size,
        block_size=4,
        num_random_blocks=1,
        max_position_embeddings=MAX_TOKENS,
        **SIZES | {"num_hidden_layers": 4},
    )
    return with_tokenizer_of(BigBirdForSequenceClassification(config), source, tmp_path / "bigbird")


def probabilities(folder: Path, passages: Sequence[str]) -> list[float]:
    manifest = read_manifest(folder)
    results = golden.results_of(folder, manifest, load_model(folder, manifest, REFERENCE), passages)
    return [result.probability for result in results]


def plain_probability(folder: Path, passage: str) -> float:
    """What transformers gives for a passage, with a model that has seen nothing before."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    encoded = tokenizer(passage, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    with torch.inference_mode():
        return float(model(**encoded).logits.softmax(dim=-1)[0, 1])


@pytest.fixture
def llama(checkpoint: MakeCheckpoint, tmp_path: Path) -> Path:
    """A classifier that stretches its positions for texts of more than 32 tokens, and keeps them stretched."""
    source = checkpoint("classifier")
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=AutoTokenizer.from_pretrained(source).vocab_size,
        max_position_embeddings=32,
        num_key_value_heads=2,
        pad_token_id=0,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0},
        **SIZES,
    )
    return with_tokenizer_of(LlamaForSequenceClassification(config), source, tmp_path / "llama")


def test_positions_that_stretch_do_not_depend_on_earlier_or_other_texts(llama: Path, tmp_path: Path) -> None:
    manifest = import_checkpoint(str(llama), tmp_path / "made")
    assert (manifest.padded, manifest.max_tokens) == (False, MAX_TOKENS)
    passages = ["the museum " * 30, "오늘 과제 " * 10, "a", "The museum is in Busan. " * 9]
    plain = [plain_probability(llama, passage) for passage in passages]
    assert probabilities(tmp_path / "made", passages) == pytest.approx(plain, abs=1e-4)


def test_texts_that_the_library_does_not_cut_to_the_positions_are_cut_for_the_comparison(
    checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = copy(checkpoint("bi-encoder"), tmp_path / "source")
    edit_json(source / "sentence_bert_config.json", max_seq_length=512)
    assert import_checkpoint(str(source), tmp_path / "made").max_tokens == MAX_TOKENS


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_tried_at_the_longest_length_and_one_token_beyond(imported: MakeCheckpoint, kind: str) -> None:
    folder = imported(kind)
    manifest = read_manifest(folder)
    probes = probes_of(folder, manifest)
    unlimited = manifest.model_copy(update={"max_tokens": None})
    if manifest.task == "cola":
        lengths = [
            int(batch.lengths[0]) for batch in token_batches(folder, unlimited, [probe.item for probe in probes])
        ]
        assert {MAX_TOKENS, MAX_TOKENS + 1} <= set(lengths)
    assert len({probe.name for probe in probes}) == len(probes)


def test_a_model_that_sees_its_padding_is_served_without_it(
    convbert: Path, destination: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = import_checkpoint(str(convbert), destination)
    assert not manifest.padded
    assert "only items of equal length will run together" in caplog.text
    passages = ["a", "The museum is in Busan.", "The children are playing in the garden. " * 9]
    together = probabilities(destination, passages)
    assert together == pytest.approx([plain_probability(convbert, passage) for passage in passages], abs=1e-5)


@pytest.mark.parametrize("labels", [1, 2])
def test_a_decoder_without_a_pad_token_is_served_by_equal_lengths(
    tmp_path: Path, destination: Path, caplog: pytest.LogCaptureFixture, labels: int
) -> None:
    folder = save_decoder(tmp_path / "decoder", GPT2ForSequenceClassification, num_labels=labels)
    assert not import_checkpoint(str(folder), destination).padded
    assert "names no pad_token_id, so only items of equal length will run together" in caplog.text
    if labels == 2:
        passages = ["a", "b", "The museum is in Busan.", "The children are playing in the garden. " * 9]
        together = probabilities(destination, passages)
        assert together == pytest.approx([plain_probability(folder, passage) for passage in passages], abs=1e-5)


def test_an_encoder_of_sentences_without_a_pad_token_is_served(tmp_path: Path, destination: Path) -> None:
    folder = save_decoder(tmp_path / "decoder", GPT2Model)
    assert import_checkpoint(str(folder), destination).padded


def test_a_model_that_switches_its_attention_forgets_earlier_inputs(bigbird: Path, destination: Path) -> None:
    long = "The children are playing in the garden. " * 9
    expected = plain_probability(bigbird, long)
    import_checkpoint(str(bigbird), destination)
    manifest = read_manifest(destination)
    model = load_model(destination, manifest, REFERENCE)
    for passages in ([long], ["a"], [long]):
        results = golden.results_of(destination, manifest, model, passages)
    assert results[0].probability == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_that_gives_other_answers_than_its_library_is_refused(
    checkpoint: MakeCheckpoint, destination: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    given = gate.library_scores

    def otherwise(source: Path, manifest: Manifest, items: Sequence[Any]) -> list[tuple[float, ...]]:
        scores = given(source, manifest, items)
        return [*scores[:-1], tuple(score + 0.02 for score in scores[-1])]

    monkeypatch.setattr(gate, "library_scores", otherwise)
    with pytest.raises(CheckpointUnsupported, match=r"gives .* on torch float32 on cpu, .* and .* with the library"):
        import_checkpoint(str(checkpoint(kind)), destination)
    assert not destination.exists()


def test_an_engine_that_differs_is_refused_with_the_input_and_both_values(
    imported: MakeCheckpoint, tmp_path: Path
) -> None:
    folder = copy(imported("classifier"), tmp_path / "copy")
    manifest = read_manifest(folder)
    probes = probes_of(folder, manifest)
    examined = gate.Examination(manifest, probes, [(2.0,)] * len(probes))
    with pytest.raises(
        CheckpointUnsupported, match=r"classifier: a .* gives 0\.\d{4} on .*, and 2\.0000 with the library"
    ):
        gate.check_engine(folder, examined, load_model(folder, manifest, REFERENCE))


def test_a_score_that_is_not_a_number_is_a_difference() -> None:
    place, difference, allowed = gate._worst("extractor", [(0.5,), (float("nan"),)], [(0.5,), (0.5,)])
    assert (place, difference) == (1, np.inf)
    assert difference > allowed


def test_logits_in_the_thousands_may_differ_by_one_ten_thousandth_and_small_ones_only_by_the_tolerance() -> None:
    place, difference, allowed = gate._worst("extractor", [(2000.1, 1.0), (1.0, 2.02)], [(2000.0, 1.0), (1.0, 2.0)])
    assert place == 1
    assert (difference, allowed) == (pytest.approx(0.02), KIND_SPECS["extractor"].library_tolerance)
    assert gate._worst("extractor", [(2000.1, 1.0)], [(2000.0, 1.0)])[2] == pytest.approx(0.2)
