"""Imported tokenizers, compared with plain transformers and sentence-transformers on the same weights."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as library
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.checkpoints.tokenizers import TEXTS, convert, refuse_unknown_words
from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import Task, read_manifest
from tests.checkpoint_factory import bert_config, make_checkpoint, save_with_wordpiece
from tests.pipelines.checkpoints.damage import edit_json, refused
from tests.pipelines.checkpoints.small_tokenizers import KINDS

pytestmark = pytest.mark.usefixtures("untraced")
LONG = [" ".join(TEXTS) * 2, " ".join(reversed(TEXTS)) * 2, "The museum is in Busan. " * 30 + "Where?"]
FAMILIES: dict[str, Callable[[], Any]] = {
    "GPT-2": lambda: library.GPT2ForSequenceClassification(
        library.GPT2Config(vocab_size=700, n_embd=32, n_layer=2, n_head=2, n_positions=256, pad_token_id=1)
    ),
    "XLM": lambda: library.XLMForSequenceClassification(
        library.XLMConfig(
            vocab_size=700, emb_dim=32, n_layers=2, n_heads=2, max_position_embeddings=256, pad_index=1, pad_token_id=1
        )
    ),
    "BERT": lambda: library.BertForSequenceClassification(bert_config(vocab_size=700, max_position_embeddings=256)),
}
NAMES = ["input_ids", "attention_mask"]


def saved(model: Any, folder: Path, kind: str, **settings: Any) -> Path:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=KINDS[kind](),
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
        **settings,
    )
    with torch.no_grad():
        for weights in model.parameters():
            weights.normal_(std=0.3, generator=torch.Generator().manual_seed(weights.numel()))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ours(folder: Path, task: Task, items: Sequence[Any]) -> NDArray[Any]:
    results = asyncio.run(load_pipeline(folder, task)(items))
    return np.array([one.probability if task == "cola" else one.score for one in results])


@torch.inference_mode()
def theirs(folder: Path, texts: Sequence[str]) -> NDArray[Any]:
    """The probabilities of class 1 by plain transformers, one text at a time, as its tokenizer calls the model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    batches = [tokenizer(text, truncation=True, return_tensors="pt") for text in texts]
    return np.array([model(**batch).logits.softmax(-1)[0, 1].item() for batch in batches])


@pytest.mark.parametrize("names", [NAMES, [*NAMES, "token_type_ids"]])
@pytest.mark.parametrize("name", FAMILIES)
def test_token_types_are_given_exactly_if_the_tokenizer_gives_them(
    tmp_path: Path, destination: Path, name: str, names: list[str]
) -> None:
    source = saved(FAMILIES[name](), tmp_path / "source", "byte-level BPE", model_input_names=names)
    manifest = import_checkpoint(str(source), destination)
    assert manifest.token_types == ("token_type_ids" in names)
    np.testing.assert_allclose(ours(destination, "cola", TEXTS), theirs(source, TEXTS), rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_long_pairs_of_a_cross_encoder_are_scored_as_the_library_does(
    tmp_path: Path, destination: Path, side: str
) -> None:
    model = library.BertForSequenceClassification(bert_config(vocab_size=700, num_labels=1))
    model.config.sentence_transformers = {"activation_fn": "torch.nn.modules.activation.Sigmoid"}
    settings = {"model_input_names": NAMES, "truncation_side": side, "model_max_length": 40}
    source = saved(model, tmp_path / "source", "WordPiece", **settings)
    pairs = [(TEXTS[0], TEXTS[1]), (LONG[0], TEXTS[1]), (TEXTS[2], LONG[1]), (LONG[1], LONG[2])]
    manifest = import_checkpoint(str(source), destination)
    assert (manifest.token_types, manifest.truncation_side) == (False, side)
    expected = 5 * CrossEncoder(str(source), device="cpu").predict(pairs, batch_size=1)
    np.testing.assert_allclose(ours(destination, "sts", pairs), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
def test_long_texts_are_cut_at_the_end_that_the_tokenizer_names(
    tmp_path: Path, destination: Path, kind: str, side: str
) -> None:
    source = saved(FAMILIES["BERT"](), tmp_path / "source", kind, truncation_side=side, model_max_length=24)
    import_checkpoint(str(source), destination)
    np.testing.assert_allclose(ours(destination, "cola", LONG), theirs(source, LONG), rtol=0, atol=1e-5)
    assert read_manifest(destination).truncation_side == side


def test_the_dropout_of_a_bpe_tokenizer_is_off_when_served(tmp_path: Path, destination: Path) -> None:
    source = saved(FAMILIES["BERT"](), tmp_path / "source", "byte-level BPE")
    expected = theirs(source, TEXTS)
    content = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["dropout"] = 0.5
    (source / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    import_checkpoint(str(source), destination)
    np.testing.assert_allclose(ours(destination, "cola", TEXTS), expected, rtol=0, atol=1e-5)


PIECES = "[UNK] [PAD] [CLS] [SEP] [MASK] ▁오늘 ▁과제 는 ▁코딩 입니다 . ▁회의 ▁the ▁museum ? 은 ▁몇".split(" ")  # noqa: SIM905


def kobert(folder: Path, **settings: Any) -> Path:
    save_with_wordpiece(library.BertForSequenceClassification(bert_config(vocab_size=len(PIECES))), folder)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def test_pieces_of_sentencepiece_in_a_wordpiece_vocabulary_are_refused(tmp_path: Path, destination: Path) -> None:
    source = kobert(tmp_path / "source", do_lower_case=False)
    why = r"vocabulary does not fit its tokenizer BertTokenizer: \d+ of \d+ .* SentencePiece's mark ▁"
    refused(source, destination, CheckpointUnsupported, why)


def test_a_tokenizer_class_that_transformers_does_not_have_is_refused_by_name(
    tmp_path: Path, destination: Path
) -> None:
    source = kobert(tmp_path / "source", tokenizer_class="KoBertTokenizer")
    refused(
        source, destination, CheckpointUnsupported, r"tokenizer_config\.json: names the tokenizer class KoBertToken"
    )


def test_a_model_type_that_transformers_does_not_have_is_refused_by_name(tmp_path: Path, destination: Path) -> None:
    source = make_checkpoint("classifier", tmp_path / "source")
    edit_json(source / "config.json", model_type="novel")
    refused(source, destination, CheckpointUnsupported, r"config\.json: model_type 'novel' is unknown to transformers")


def test_a_vocabulary_of_another_alphabet_is_refused(tmp_path: Path) -> None:
    strange = Tokenizer(WordPiece({"[UNK]": 0, "ก": 1, "##ข": 2}, unk_token="[UNK]"))
    with pytest.raises(CheckpointUnsupported, match=r"(\d+) of \1 Korean and English words are unknown"):
        refuse_unknown_words(strange, tmp_path, "BertTokenizer")
    for make in KINDS.values():
        refuse_unknown_words(make(), tmp_path, "PreTrainedTokenizerFast")


class Slow:
    """A tokenizer in Python, as far as its conversion reads it."""

    def __init__(self, ids: Callable[[str], list[int]]) -> None:
        self._ids = ids

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": self._ids(text)}


def test_a_tokenizer_in_python_is_converted_if_that_gives_the_same_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = KINDS["WordPiece"]()
    monkeypatch.setattr("pipelines.checkpoints.tokenizers.convert_slow_tokenizer", lambda _: fast)
    assert convert(Slow(lambda text: fast.encode(text).ids), tmp_path) is fast
    with pytest.raises(CheckpointUnsupported, match="Slow has no fast version: converted, it gives other tokens"):
        convert(Slow(lambda text: fast.encode(text[::-1]).ids), tmp_path)


def test_a_tokenizer_in_python_without_a_converter_is_refused_by_name(tmp_path: Path, destination: Path) -> None:
    model = library.BertForSequenceClassification(bert_config(vocab_size=700))
    model.save_pretrained(tmp_path / "source")
    library.ByT5Tokenizer().save_pretrained(tmp_path / "source")
    (tmp_path / "source" / "vocab.txt").write_text("", encoding="utf-8")  # so that it seems to have a vocabulary
    refused(tmp_path / "source", destination, CheckpointUnsupported, "ByT5Tokenizer has no fast version")
