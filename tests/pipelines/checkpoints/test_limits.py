"""The longest input of random models, found by trying it."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as library
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from pipelines.checkpoints.limits import MOST_TRIED, limit_of, longest_input, reads_batches, runs_padded
from pipelines.errors import CheckpointUnsupported
from tests.pipelines.checkpoints.small_tokenizers import KINDS

POSITIONS = 130
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 700,
    "pad_token_id": 1,
}
ONE_SEGMENT = {**SIZES, "max_position_embeddings": POSITIONS, "type_vocab_size": 1}
BEHIND_THE_PAD: dict[str, Callable[[], Any]] = {
    "RoBERTa": lambda: library.RobertaModel(library.RobertaConfig(**ONE_SEGMENT)),
    "MPNet": lambda: library.MPNetModel(library.MPNetConfig(**{**SIZES, "max_position_embeddings": POSITIONS})),
    "Data2Vec": lambda: library.Data2VecTextModel(library.Data2VecTextConfig(**ONE_SEGMENT)),
    "XLM-R-XL": lambda: library.XLMRobertaXLModel(library.XLMRobertaXLConfig(**ONE_SEGMENT)),
    "LUKE": lambda: library.LukeModel(library.LukeConfig(**ONE_SEGMENT, entity_vocab_size=10, entity_emb_size=16)),
    "I-BERT": lambda: library.IBertModel(library.IBertConfig(**ONE_SEGMENT)),
}
WITHOUT_MAXIMUM: dict[str, Callable[[], Any]] = {
    "XLNet": lambda: library.XLNetModel(
        library.XLNetConfig(vocab_size=700, d_model=32, n_layer=2, n_head=2, d_inner=48)
    ),
    "T5": lambda: library.T5EncoderModel(
        library.T5Config(vocab_size=700, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2)
    ),
}


def tokenizer(**settings: Any) -> PreTrainedTokenizerBase:
    return PreTrainedTokenizerFast(tokenizer_object=KINDS["byte-level BPE"](), pad_token="<pad>", **settings)


def reads(model: Any, length: int) -> bool:
    with torch.no_grad():
        try:
            model.eval()(input_ids=torch.full((1, length), 5))
        except Exception:
            return False
    return True


@pytest.mark.parametrize("name", BEHIND_THE_PAD)
def test_positions_that_begin_behind_the_padded_token_are_not_counted(name: str) -> None:
    model = BEHIND_THE_PAD[name]()
    assert longest_input(model, tokenizer()) == POSITIONS - 2
    assert (reads(model, POSITIONS - 2), reads(model, POSITIONS - 1)) == (True, False)


def test_a_position_table_is_used_whole() -> None:
    model = library.BertModel(library.BertConfig(**SIZES, max_position_embeddings=POSITIONS))
    assert longest_input(model, tokenizer()) == POSITIONS
    assert longest_input(model, tokenizer(model_max_length=2 * POSITIONS)) == POSITIONS
    assert longest_input(model, tokenizer(model_max_length=50)) == 50
    assert longest_input(model, tokenizer(), most=40) == 40
    model.config.max_position_embeddings = 4 * POSITIONS  # the config may be wrong
    assert longest_input(model, tokenizer()) == POSITIONS


def test_beyond_1024_tokens_a_position_table_is_tried_without_the_layers() -> None:
    model = library.RobertaModel(library.RobertaConfig(**{**ONE_SEGMENT, "max_position_embeddings": 4098}))
    model.encoder.layer[1].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    seen: list[int] = []
    assert longest_input(model, tokenizer()) == 4096
    assert seen == [1024, 8]


@pytest.mark.parametrize("name", WITHOUT_MAXIMUM)
def test_without_a_maximum_only_the_tokenizer_limits(name: str) -> None:
    model = WITHOUT_MAXIMUM[name]()
    assert longest_input(model, tokenizer()) is None
    assert longest_input(model, tokenizer(model_max_length=256)) == 256
    assert longest_input(model, tokenizer(model_max_length=-1)) is None


COMPUTED: dict[str, Callable[[], Any]] = {
    "T5": lambda: library.T5EncoderModel(
        library.T5Config(vocab_size=700, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2, n_positions=20)
    ),
    "Llama": lambda: library.LlamaModel(
        library.LlamaConfig(**SIZES, num_key_value_heads=2, max_position_embeddings=POSITIONS)
    ),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_positions_that_are_computed_have_only_the_limit_of_the_tokenizer(name: str) -> None:
    model = COMPUTED[name]()
    assert longest_input(model, tokenizer()) is None
    assert longest_input(model, tokenizer(model_max_length=256)) == 256
    assert longest_input(model, tokenizer(model_max_length=256), most=100) == 100


def test_a_table_inside_of_the_layers_is_found_without_a_limit_in_the_config() -> None:
    model = library.GPTJModel(
        library.GPTJConfig(vocab_size=700, n_embd=32, n_layer=2, n_head=2, n_positions=POSITIONS, rotary_dim=8)
    )
    model.config.n_positions = 0
    assert longest_input(model, tokenizer()) == POSITIONS


@pytest.mark.parametrize("longest", [None, -1, 0, 1e30, int(1e30), float("inf")])
def test_numbers_that_mean_no_limit_are_none(longest: float | None) -> None:
    named = tokenizer()
    named.model_max_length = longest
    assert limit_of(named) is None


@pytest.mark.parametrize(
    ("kind", "padded"), [("default", True), ("linear", True), ("dynamic", False), ("longrope", False)]
)
def test_positions_that_depend_on_the_longest_text_of_a_batch_are_never_padded(kind: str, padded: bool) -> None:
    factors = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "original_max_position_embeddings": 64}
    rope = {"rope_type": kind, "rope_theta": 100.0, "factor": 2.0, **(factors if kind == "longrope" else {})}
    config = library.LlamaConfig(**SIZES, num_key_value_heads=2, rope_parameters=rope)
    assert runs_padded(library.LlamaModel(config), tokenizer()) == padded


def test_more_than_is_tried_is_said(caplog: pytest.LogCaptureFixture) -> None:
    model = WITHOUT_MAXIMUM["T5"]()
    with caplog.at_level(logging.WARNING):
        assert longest_input(model, tokenizer(model_max_length=3 * MOST_TRIED)) == 3 * MOST_TRIED
    assert f"only {MOST_TRIED} were tried" in caplog.text


def test_the_model_stays_in_its_mode() -> None:
    model = BEHIND_THE_PAD["MPNet"]().train()
    longest_input(model, tokenizer())
    assert model.training
    assert model.encoder.layer[0].training


def test_a_model_that_reads_no_text_is_unsupported_with_its_own_error() -> None:
    model = library.BertModel(library.BertConfig(**{**SIZES, "vocab_size": 2}, max_position_embeddings=POSITIONS))
    with pytest.raises(CheckpointUnsupported, match="BertModel: fails on a text of 8 tokens: index out of range"):
        longest_input(model, tokenizer())


@pytest.mark.parametrize(("pad", "together"), [(None, False), (1, True)])
def test_a_decoder_that_classifies_reads_batches_only_with_a_pad_token(pad: int | None, together: bool) -> None:
    config = library.GPT2Config(vocab_size=700, n_embd=32, n_layer=2, n_head=2, n_positions=64, pad_token_id=pad)
    assert reads_batches(library.GPT2ForSequenceClassification(config), tokenizer()) == together


def test_an_encoder_reads_batches_without_a_pad_token() -> None:
    config = library.BertConfig(**{**SIZES, "pad_token_id": None})
    assert reads_batches(library.BertForSequenceClassification(config), tokenizer())
