import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import (
    AlbertConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)

from pipelines.engines.packed import PACKED, Packing, Stack
from pipelines.engines.torch_engine import TorchEngine
from pipelines.format.two_layers import TwoLayersConfig
from tests.pipelines.engines.batches import batch_of, cpu, random_batch

VOCAB = 120
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 80,
    "initializer_range": 0.3,  # far from zero, so that the influence of another item would be visible
}
DISTILBERT: dict[str, Any] = {
    "vocab_size": VOCAB,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 48,
    "max_position_embeddings": 80,
    "initializer_range": 0.3,
}
PACKABLE = [
    BertConfig(**SIZES),
    RobertaConfig(**SIZES, type_vocab_size=1),
    XLMRobertaConfig(**SIZES, type_vocab_size=1),
    DistilBertConfig(**DISTILBERT),
    ElectraConfig(**SIZES, embedding_size=16),
    AlbertConfig(**SIZES, embedding_size=16),
]
NOT_PACKABLE = [
    ModernBertConfig(**SIZES, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2),
    DebertaV2Config(**SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    MPNetConfig(**SIZES),
    BertConfig(**SIZES, is_decoder=True),  # attends only to earlier tokens
]
TWO_LAYERS = [TwoLayersConfig(config, num_labels=2, dropout=0.0) for config in PACKABLE]
BATCH = random_batch([9, 40, 2, 1, 17, 17], VOCAB)


def kind(config: PreTrainedConfig) -> str:
    encoder = getattr(config, "encoder", None)
    return str(config.model_type) if encoder is None else f"{config.model_type} on {encoder.model_type}"


def made(auto_class: Any, config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    return auto_class.from_config(type(config)(**config.to_dict()))


def engines(make: Callable[[], PreTrainedModel], **changes: Any) -> tuple[TorchEngine, TorchEngine]:
    """Two engines of the same model: padded and, if possible, packed."""
    padded, packed = make().eval(), make().eval()
    packed.load_state_dict(padded.state_dict())
    pad_id = padded.config.pad_token_id or 0
    return tuple(
        TorchEngine(model, cpu(), pad_id=pad_id, packed=model is packed, **changes) for model in (padded, packed)
    )


@pytest.mark.parametrize("config", [*PACKABLE, *TWO_LAYERS], ids=kind)
def test_a_classifier_answers_the_same_packed_and_padded(config: PreTrainedConfig) -> None:
    padded, packed = engines(lambda: made(AutoModelForSequenceClassification, config))
    assert (padded.name, packed.name) == ("torch float32 on cpu", "torch float32 on cpu, packed")
    expected = padded.outputs(BATCH, "logits")[0]
    assert expected.std(axis=0).min() > 0.1
    np.testing.assert_allclose(packed.outputs(BATCH, "logits")[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", PACKABLE, ids=kind)
def test_an_extractor_answers_the_same_packed_and_padded(config: PreTrainedConfig) -> None:
    padded, packed = engines(lambda: made(AutoModelForQuestionAnswering, config))
    assert "packed" in packed.name
    names = ("start_logits", "end_logits")
    for expected, actual in zip(padded.outputs(BATCH, *names), packed.outputs(BATCH, *names), strict=True):
        assert actual.shape == expected.shape == BATCH.mask.shape
        assert np.isfinite(actual).all()
        np.testing.assert_allclose(actual[BATCH.mask], expected[BATCH.mask], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def bert() -> tuple[TorchEngine, TorchEngine]:
    return engines(lambda: made(AutoModelForQuestionAnswering, PACKABLE[0]))


@given(lengths=st.lists(st.integers(1, 80), min_size=1, max_size=6), seed=st.integers(0, 9))
@settings(max_examples=40)
def test_packed_and_padded_agree_for_any_lengths(
    bert: tuple[TorchEngine, TorchEngine], lengths: list[int], seed: int
) -> None:
    batch = random_batch(lengths, VOCAB, seed)
    expected, actual = (engine.outputs(batch, "end_logits")[0][batch.mask] for engine in bert)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5)


def test_a_pad_token_in_the_text_takes_no_position_when_packed() -> None:
    padded, packed = engines(lambda: made(AutoModelForSequenceClassification, PACKABLE[1]))
    batch = batch_of([5, 1, 6, 1, 1, 7], [5, 6, 7])  # RoBERTa's pad id is 1, and its positions count only other tokens
    expected = padded.outputs(batch, "logits")[0]
    np.testing.assert_allclose(packed.outputs(batch, "logits")[0], expected, rtol=0, atol=1e-5)


def assert_runs_padded(make: Callable[[], PreTrainedModel]) -> None:
    padded, other = engines(make)
    assert other.name == "torch float32 on cpu"
    np.testing.assert_array_equal(other.outputs(BATCH, "logits")[0], padded.outputs(BATCH, "logits")[0])


@pytest.mark.parametrize("config", NOT_PACKABLE, ids=kind)
def test_architectures_that_can_not_be_packed_run_padded(config: PreTrainedConfig) -> None:
    assert_runs_padded(lambda: made(AutoModelForSequenceClassification, config))


class Blending(nn.Module):
    """A layer that mixes neighbouring tokens of a row outside the attention, as a convolution would."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        hidden = self.layer(hidden_states, *args, **kwargs)
        return torch.as_tensor(hidden + 0.05 * hidden.roll(1, dims=1))


def blending() -> PreTrainedModel:
    model = made(AutoModelForSequenceClassification, PACKABLE[0])
    model.bert.encoder.layer[0] = Blending(model.bert.encoder.layer[0])
    return model


class Withholding(BertForSequenceClassification):  # type: ignore[misc]
    """A head that does not pass unknown arguments to its model."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, **_: object) -> Any:
        return super().forward(input_ids, attention_mask, token_type_ids)


@pytest.mark.parametrize("make", [blending, lambda: Withholding(PACKABLE[0])], ids=["blending", "withholding"])
def test_a_model_that_gives_other_results_or_fails_when_packed_runs_padded(make: Callable[[], PreTrainedModel]) -> None:
    torch.manual_seed(0)
    assert_runs_padded(make)


def test_a_model_outside_transformers_has_no_stack() -> None:
    assert Stack.of(nn.Linear(2, 2)) is None


@pytest.mark.parametrize("config", PACKABLE, ids=kind)
def test_on_other_devices_attention_is_varlen_attention(config: PreTrainedConfig) -> None:
    """Checks shapes only: the meta device computes nothing, but PyTorch checks the arguments of each operation."""
    model = made(AutoModelForQuestionAnswering, config).eval()
    stack = Stack.of(model)
    assert stack is not None
    stack.try_packing(lambda batch, packed: run_on(model, "cpu", batch, packed))
    assert model.config._attn_implementation == PACKED
    model.to("meta", torch.bfloat16)
    with torch.profiler.profile() as profile:
        logits = run_on(model, "meta", BATCH, packed=True)
    assert logits.shape == BATCH.mask.shape
    calls = [event.count for event in profile.key_averages() if event.key == "torch_attn::_varlen_attn"]
    assert calls == [2]


@torch.inference_mode()
def run_on(model: PreTrainedModel, device: str, batch: Any, packed: bool) -> Tensor:
    def to_device(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device)

    packing = {"packing": Packing.of(batch, to_device)} if packed else {}
    ids, mask = to_device(batch.padded_ids(0)), to_device(batch.mask.astype(np.int64))
    return torch.as_tensor(model(input_ids=ids, attention_mask=mask, **packing).start_logits)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # from PyTorch's compiler when it is imported
@pytest.mark.skipif(shutil.which("gcc") is None, reason="PyTorch compiles for the CPU with a C++ compiler")
def test_compiled_layers_give_the_same_results_for_any_size() -> None:
    config = BertConfig(**{**SIZES, "num_hidden_layers": 1})
    eager, compiled = (
        TorchEngine(made(AutoModelForSequenceClassification, config), cpu(), pad_id=0, packed=True, compiled=compiled)
        for compiled in (False, True)
    )
    assert compiled.name == "torch float32 on cpu, packed, compiled"
    for batch in (BATCH, random_batch([30] * 8, VOCAB), random_batch([5], VOCAB)):
        expected = eager.outputs(batch, "logits")[0]
        np.testing.assert_allclose(compiled.outputs(batch, "logits")[0], expected, rtol=0, atol=1e-5)


def test_a_packed_encoder_gives_zeros_for_padding() -> None:
    engine = TorchEngine(BertModel(PACKABLE[0]), cpu(), pad_id=0, packed=True)
    states = engine.outputs(BATCH, "last_hidden_state")[0]
    assert states.shape == (*BATCH.mask.shape, 32)
    assert (states[~BATCH.mask] == 0).all()
    assert (np.abs(states[BATCH.mask]).max(axis=-1) > 0).all()
