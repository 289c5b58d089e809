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

from pipelines.checkpoints.gate import probes_of
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.checkpoints.tokenizers import TEXTS, convert, refuse_unknown_words
from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import Task, read_manifest
from tests.checkpoint_factory import SIZES, bert_config, make_checkpoint, save_with_wordpiece
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


def test_a_model_with_one_token_type_gets_none_from_a_tokenizer_with_two(tmp_path: Path, destination: Path) -> None:
    """KLUE's RoBERTa has such a tokenizer; the library fails on the second type, so nobody gives it any."""
    one = {"vocab_size": 700, "max_position_embeddings": 130, "type_vocab_size": 1, **SIZES}
    pair = library.RobertaForSequenceClassification(library.RobertaConfig(num_labels=1, **one))
    source = saved(pair, tmp_path / "pair", "WordPiece", model_input_names=[*NAMES, "token_type_ids"])
    import_checkpoint(str(source), destination)
    plain = CrossEncoder(str(source), device="cpu")
    plain.tokenizer.model_input_names = NAMES
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[4], TEXTS[3])]
    np.testing.assert_allclose(ours(destination, "sts", pairs), 5 * plain.predict(pairs), rtol=0, atol=1e-4)
    extractor = library.RobertaForQuestionAnswering(library.RobertaConfig(**one))
    asked = saved(extractor, tmp_path / "asked", "WordPiece", model_input_names=[*NAMES, "token_type_ids"])
    assert import_checkpoint(str(asked), destination.with_name("asked")).kind == "extractor"


@pytest.mark.parametrize("split", [False, True])
def test_names_of_special_tokens_in_a_text_are_read_as_the_tokenizer_says(
    tmp_path: Path, destination: Path, split: bool
) -> None:
    source = saved(FAMILIES["BERT"](), tmp_path / "source", "WordPiece", split_special_tokens=split)
    manifest = import_checkpoint(str(source), destination)
    texts = ["The museum <mask> is open.", "오늘 </s> 과제", "<unk>"]
    assert texts[0] in [probe.item for probe in probes_of(destination, manifest)]
    np.testing.assert_allclose(ours(destination, "cola", texts), theirs(source, texts), rtol=0, atol=1e-5)


@pytest.fixture
def cross_encoder(tmp_path: Path) -> Path:
    """A cross-encoder as version 6 of sentence-transformers saves it, with modules.json."""
    model = library.BertForSequenceClassification(bert_config(vocab_size=700, num_labels=1))
    plain = saved(model, tmp_path / "plain", "byte-level BPE", model_input_names=NAMES)
    CrossEncoder(str(plain), device="cpu").save(str(tmp_path / "source"), create_model_card=False)
    return tmp_path / "source"


@pytest.mark.parametrize("setting", [{"max_seq_length": 20}, {"do_lower_case": True}])
def test_a_cross_encoder_reads_texts_as_its_sentence_bert_config_says(
    cross_encoder: Path, destination: Path, setting: dict[str, Any]
) -> None:
    pairs = [("THE MUSEUM Is In BUSAN!", TEXTS[0]), (LONG[0], TEXTS[1])]
    before = CrossEncoder(str(cross_encoder), device="cpu").predict(pairs, batch_size=1)
    edit_json(cross_encoder / "sentence_bert_config.json", **setting)
    import_checkpoint(str(cross_encoder), destination)
    for folder in (cross_encoder, destination):
        expected = CrossEncoder(str(folder), device="cpu").predict(pairs, batch_size=1)
        np.testing.assert_allclose(ours(destination, "sts", pairs), 5 * expected, rtol=0, atol=2e-5)
    assert np.abs(expected - before).max() > 1e-4


def test_a_cross_encoder_that_tokenizes_in_a_special_way_is_refused_by_the_setting(
    cross_encoder: Path, destination: Path
) -> None:
    edit_json(cross_encoder / "sentence_bert_config.json", processing_kwargs={"text": {"max_length": 9}})
    refused(cross_encoder, destination, CheckpointUnsupported, "its Transformer sets processing_kwargs")


def test_special_tokens_that_the_library_adds_without_a_row_in_the_table_are_removed(
    tmp_path: Path, destination: Path
) -> None:
    """transformers' class for Qwen2 adds <|endoftext|>, and fails on a text that has it."""
    fast = PreTrainedTokenizerFast(tokenizer_object=KINDS["byte-level BPE"](), model_max_length=128)
    sizes = {"num_key_value_heads": 2, "max_position_embeddings": 128, **SIZES}
    model = library.Qwen2ForSequenceClassification(library.Qwen2Config(vocab_size=len(fast), **sizes))
    model.save_pretrained(tmp_path / "source")
    fast.save_pretrained(tmp_path / "source")
    assert len(AutoTokenizer.from_pretrained(tmp_path / "source")) > len(fast)
    import_checkpoint(str(tmp_path / "source"), destination)
    np.testing.assert_allclose(ours(destination, "cola", TEXTS), theirs(tmp_path / "source", TEXTS), rtol=0, atol=1e-5)
    assert np.isfinite(ours(destination, "cola", ["The museum <|endoftext|>"])).all()


@pytest.mark.parametrize("longest", [-1, 0, 1e30])
def test_a_tokenizer_without_a_limit_leaves_that_to_the_model(
    tmp_path: Path, destination: Path, longest: float
) -> None:
    source = saved(FAMILIES["BERT"](), tmp_path / "source", "WordPiece")
    edit_json(source / "tokenizer_config.json", model_max_length=longest)
    assert import_checkpoint(str(source), destination).max_tokens == 256


@pytest.mark.parametrize("longest", ["64", 64.5, float("nan"), [64]])
def test_a_limit_that_is_no_whole_number_is_refused_by_file_and_key(
    tmp_path: Path, destination: Path, longest: Any
) -> None:
    source = saved(FAMILIES["BERT"](), tmp_path / "source", "WordPiece")
    edit_json(source / "tokenizer_config.json", model_max_length=longest)
    refused(
        source, destination, CheckpointUnsupported, r"tokenizer_config\.json: its model_max_length is .*whole number"
    )


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
