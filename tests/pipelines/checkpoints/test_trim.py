"""Trim checkpoints of every kind: they get smaller and give the same answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaForSequenceClassification,
)

from pipelines.checkpoints import golden, in_process
from pipelines.checkpoints import trim as trimming
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.resolve import ROOT
from pipelines.checkpoints.trim import Trimmed, trim
from pipelines.checkpoints.trim_weights import trim_model
from pipelines.engines.choice import REFERENCE
from pipelines.errors import CheckpointError, CheckpointUnsupported, DataNotFound
from pipelines.format.manifest import KIND_SPECS, MANIFEST, read_manifest, verify, write_manifest
from pipelines.format.two_layers import TwoLayersForSequenceClassification
from tests.checkpoint_factory import MAX_TOKENS, SIZES, bert_config, save_with_wordpiece
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import WEIGHTS, copy, edit_json, edit_weights
from tests.pipelines.checkpoints.small_tokenizers import KINDS as TOKENIZERS

HEADS = (
    *("bi-encoder", "static", "cross-encoder", "cross-encoder-sigmoid"),
    *("classifier", "classifier-distilbert", "extractor", "extractor-roberta"),
)
SENTENCES = ["오늘 과제는 코딩 과제입니다.", "The museum is in Busan."]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    return path


def xlm_roberta(kind: str, model_class: Callable[[Any], PreTrainedModel], folder: Path) -> Path:
    """A model like XLM-R with a small tokenizer. The pad id is 1, and positions start after it."""
    tokenizer: Tokenizer = TOKENIZERS[kind]()
    config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=MAX_TOKENS + 2,
        num_labels=2,
        pad_token_id=1,
        **SIZES,
    )
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    more = {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>", "model_max_length": MAX_TOKENS}
    model_class(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, **more).save_pretrained(folder)
    return folder


def two_layers(folder: Path) -> Path:
    save_with_wordpiece(TwoLayersForSequenceClassification.on(BertModel(bert_config()), 2), folder)
    return folder


def outputs(folder: Path) -> list[np.ndarray]:
    """The outputs for the sentences, as pairs if the task needs pairs."""
    manifest = read_manifest(folder)
    inputs: list[Any] = SENTENCES if manifest.task == "cola" else [tuple(SENTENCES), tuple(reversed(SENTENCES))]
    engine = in_process.load_model(folder, manifest, REFERENCE).engine
    batches = in_process.token_batches(folder, manifest, inputs)
    return [out for batch in batches for out in engine.outputs(batch, *KIND_SPECS[manifest.kind].outputs)]


def assert_trimmed(source: Path, folder: Path, trimmed: Trimmed) -> None:
    assert trimmed.pieces < trimmed.pieces_before
    assert trimmed.bytes < trimmed.bytes_before
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size() == trimmed.pieces
    before, after = read_manifest(source), read_manifest(folder)
    assert verify(folder, before.task) == after
    assert after.name == f"{before.name}, trimmed"
    same = {"name", "golden", "files", "int8", "untraced"}
    assert after.model_dump(exclude=same) == before.model_dump(exclude=same)
    golden.check(folder, before, in_process.load_model(folder, after, REFERENCE), tolerance=1e-5)
    for old, new in zip(outputs(source), outputs(folder), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.usefixtures("untraced")
def test_every_kind_of_model_gives_the_same_answers(
    checkpoint: MakeCheckpoint, texts: Path, tmp_path: Path, destination: Path, kind: str
) -> None:
    import_checkpoint(str(checkpoint(kind)), tmp_path / kind)
    trimmed = trim(str(tmp_path / kind), destination, [texts])
    assert_trimmed(tmp_path / kind, destination, trimmed)


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.usefixtures("untraced")
def test_every_type_of_tokenizer_gives_the_same_answers(
    texts: Path, tmp_path: Path, destination: Path, kind: str
) -> None:
    xlm_roberta(kind, XLMRobertaForSequenceClassification, tmp_path / "source")
    import_checkpoint(str(tmp_path / "source"), tmp_path / "imported")
    trimmed = trim(str(tmp_path / "imported"), destination, [texts])
    assert_trimmed(tmp_path / "imported", destination, trimmed)


@pytest.mark.usefixtures("untraced")
def test_the_truncation_and_padding_of_a_tokenizer_are_kept(texts: Path, tmp_path: Path, destination: Path) -> None:
    source = tmp_path / "imported"
    import_checkpoint(str(xlm_roberta("Unigram", XLMRobertaForSequenceClassification, tmp_path / "model")), source)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64, pad_id=1, pad_token="<pad>")
    tokenizer.save(str(source / "tokenizer.json"))
    write_manifest(source, read_manifest(source))
    assert_trimmed(source, destination, trim(str(source), destination, [texts]))
    after = Tokenizer.from_file(str(destination / "tokenizer.json"))
    assert (after.truncation, after.padding) == (tokenizer.truncation, tokenizer.padding)


@pytest.mark.usefixtures("untraced")
def test_a_model_in_another_format_is_imported_first(texts: Path, tmp_path: Path, destination: Path) -> None:
    """The size of this model's vocabulary is in a nested configuration."""
    import_checkpoint(str(two_layers(tmp_path / "model")), tmp_path / "imported")
    trimmed = trim(str(tmp_path / "model"), destination, [texts])
    assert_trimmed(tmp_path / "imported", destination, trimmed)


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
def test_the_shipped_extractor_keeps_its_scores_and_card_but_not_its_int8_graph(
    texts: Path, destination: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = ROOT / "checkpoints" / "qa"
    trimmed = trim(str(source), destination, [texts], ["Hangul"])
    assert_trimmed(source, destination, trimmed)
    assert read_manifest(destination).int8 is None
    assert list(destination.glob("*.onnx")) == []
    name = read_manifest(source).name
    assert f"the int8 graph of {name} is left out; the command quantize adds a new one" in caplog.messages
    card, before = ((folder / "README.md").read_text(encoding="utf-8") for folder in (destination, source))
    assert card.startswith(before.rstrip())
    kept = f"The vocabulary holds {trimmed.pieces:,} of {trimmed.pieces_before:,} pieces"
    assert f"## Trimmed\n\n{kept}: what the texts of texts.txt need" in card
    assert "and the single characters of Hangul." in card


def test_a_new_graph_is_written(imported: MakeCheckpoint, texts: Path, destination: Path) -> None:
    trim(str(imported("static")), destination, [texts])
    manifest = verify(destination, "sts")
    assert "model.onnx" in manifest.files
    before, after = (
        SentenceTransformer(str(f), device="cpu").encode(SENTENCES) for f in (imported("static"), destination)
    )
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_an_encoder_stays_a_transformers_folder(texts: Path, tmp_path: Path, destination: Path) -> None:
    source = xlm_roberta("Unigram", XLMRobertaForMaskedLM, tmp_path / "source")
    trimmed = trim(str(source), destination, [texts])
    assert trimmed.pieces < trimmed.pieces_before
    assert not (destination / MANIFEST).exists()
    config = json.loads((destination / "config.json").read_text(encoding="utf-8"))
    assert (config["vocab_size"], config["architectures"]) == (trimmed.pieces, ["XLMRobertaModel"])
    for old, new in zip(states(source), states(destination), strict=True):
        torch.testing.assert_close(new, old, atol=1e-5, rtol=0)


def states(folder: Path) -> list[torch.Tensor]:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return [model(**tokenizer(text, return_tensors="pt")).last_hidden_state for text in SENTENCES]


@pytest.mark.usefixtures("untraced")
def test_the_pieces_of_prompts_are_kept(
    checkpoint: MakeCheckpoint, tmp_path: Path, destination: Path, texts: Path
) -> None:
    whole = tmp_path / "static"
    import_checkpoint(str(checkpoint("static")), whole)
    edit_json(whole / "config_sentence_transformers.json", prompts={"query": "QZ: ", "document": ""})
    write_manifest(whole, read_manifest(whole))
    trim(str(whole), destination, [texts])
    vocab = Tokenizer.from_file(str(destination / "tokenizer.json")).get_vocab()
    assert {"Q", "##Z"} <= vocab.keys()
    assert "X" not in vocab


def refused(source: Path, destination: Path, files: list[Path], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        trim(str(source), destination, files)
    assert not destination.exists()
    assert not destination.parent.exists() or list(destination.parent.iterdir()) == []


@pytest.mark.parametrize("kind", ["static", "classifier"])
@pytest.mark.usefixtures("untraced")
def test_other_tokens_are_refused_naming_the_line(
    checkpoint: MakeCheckpoint, texts: Path, destination: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    find = trimming.PieceFinder.find
    monkeypatch.setattr(trimming.PieceFinder, "find", lambda *args: find(*args) - {"museum"})
    if kind == "classifier":  # so that the tokenizer of transformers must be checked; the static model has none
        monkeypatch.setattr(trimming, "check_tokens", lambda *args: None)
    line = f"{texts}, line 2: other tokens than before"
    refused(checkpoint(kind), destination, [texts], CheckpointUnsupported, line)


@pytest.mark.usefixtures("untraced")
def test_other_outputs_are_refused_naming_the_line(
    checkpoint: MakeCheckpoint, texts: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage(folder: Path, *args: Any) -> None:
        trim_model(folder, *args)
        edit_weights(folder, lambda weights: weights["classifier.weight"].mul_(1.01))

    monkeypatch.setattr(trimming, "trim_model", damage)
    line = f"{texts}, line 1: other outputs than before"
    refused(checkpoint("classifier"), destination, [texts], CheckpointUnsupported, line)


def test_a_destination_that_exists_is_refused(checkpoint: MakeCheckpoint, texts: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnsupported, match="exists already"):
        trim(str(checkpoint("classifier")), tmp_path, [texts])


def test_missing_texts_and_sources_are_refused(
    checkpoint: MakeCheckpoint, texts: Path, tmp_path: Path, destination: Path
) -> None:
    refused(checkpoint("classifier"), destination, [tmp_path / "none.txt"], DataNotFound, "there is no such file")
    refused(tmp_path, destination, [texts], CheckpointError, str(tmp_path))


def test_a_damaged_checkpoint_is_refused(
    checkpoint: MakeCheckpoint, imported: MakeCheckpoint, texts: Path, tmp_path: Path, destination: Path
) -> None:
    source = copy(imported("static"), tmp_path / "copy")
    (source / WEIGHTS).unlink()
    refused(source, destination, [texts], CheckpointError, f"{source / WEIGHTS}: missing")
