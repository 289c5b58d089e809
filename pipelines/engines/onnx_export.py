"""Export a checkpoint's model as an ONNX graph, `model.onnx`, which shares its weights with `model.safetensors`."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from onnx import helper
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from torch import Tensor, nn

from pipelines.engines.choice import ONNX
from pipelines.engines.onnx_engine import PAD_ID
from pipelines.engines.onnx_weights import SAFETENSORS, share_weights
from pipelines.engines.torch_engine import takes_types
from pipelines.errors import CheckpointUnsupported
from pipelines.format.headed import load_headed, pad_id_of
from pipelines.format.manifest import KIND_SPECS, Manifest
from pipelines.format.sentence_transformer import load_sentence_transformer

EXAMPLE_SHAPE = (3, 9)  # items, tokens: not a size in any model, so that tracing takes neither as a constant
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Headed(nn.Module):
    """A transformers model with a head, as a function from tensors to the named outputs."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The named outputs; each input is (items, tokens)."""
        output = self.model(**_named(input_ids, attention_mask, token_type_ids))
        return tuple(output[name] for name in self.names)


class Embedder(nn.Module):
    """A SentenceTransformer as a function from tensors to embeddings of unit length, of the first `dimensions`."""

    def __init__(self, model: nn.Module, dimensions: int | None) -> None:
        super().__init__()
        self.model = model
        self.dimensions = dimensions

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Embeddings (items, dimensions); each input is (items, tokens)."""
        embedding = self.model(_named(input_ids, attention_mask, token_type_ids))["sentence_embedding"]
        return nn.functional.normalize(embedding[:, : self.dimensions], dim=1)


class StaticEmbedder(nn.Module):
    """The mean of an item's token embeddings, its first `dimensions` scaled to unit length; zeros without tokens."""

    def __init__(self, weight: Tensor, dimensions: int | None) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeddings (items, dimensions); each input is (items, tokens)."""
        mask = attention_mask[..., None].to(self.weight.dtype)  # (items, tokens, 1)
        total = (nn.functional.embedding(input_ids, self.weight) * mask).sum(dim=1)
        mean = total / mask.sum(dim=1).clamp(min=1)
        return nn.functional.normalize(mean[:, : self.dimensions], dim=1)


def _named(*tensors: Tensor | None) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in zip(INPUTS, tensors, strict=True) if tensor is not None}


def write_onnx(folder: Path, manifest: Manifest) -> Path:
    """Trace the model of a checkpoint into `model.onnx`, for any number of items and tokens.

    Raises whatever PyTorch's exporter raises, and CheckpointUnsupported for static embeddings with further modules.
    """
    if manifest.kind == "bi-encoder":
        model = load_sentence_transformer(folder)
        module = _embedder(folder, model, manifest.dimensions)
        inputs = _inputs(model[0], token_types=manifest.token_types)
        pad_id = getattr(model.tokenizer, "pad_token_id", 0)  # the tokenizer of static embeddings has no pad token
    else:
        model = load_headed(folder, manifest)
        module, pad_id = Headed(model, KIND_SPECS[manifest.kind].outputs), pad_id_of(model)
        inputs = _inputs(model, token_types=manifest.token_types)
    traced = _trace(module, inputs, KIND_SPECS[manifest.kind].outputs)
    helper.set_model_props(traced, {PAD_ID: str(pad_id or 0)})
    share_weights(traced, folder / SAFETENSORS)
    path = folder / ONNX["float32"]
    onnx.save(traced, path)
    return path


def _embedder(folder: Path, model: SentenceTransformer, dimensions: int | None) -> nn.Module:
    if not isinstance(model[0], StaticEmbedding):
        return Embedder(model, dimensions)
    if not all(isinstance(module, Normalize) for module in list(model)[1:]):
        raise CheckpointUnsupported(str(folder), "static embeddings with further modules are not traced")
    return StaticEmbedder(model[0].embedding.weight.detach(), dimensions)


def _inputs(model: nn.Module, *, token_types: bool) -> tuple[str, ...]:
    """The `INPUTS` that the tokenizer gives and the model uses."""
    if isinstance(model, StaticEmbedding) or not token_types:
        return INPUTS[:2]
    return INPUTS if takes_types(getattr(model, "auto_model", model)) else INPUTS[:2]


def _trace(module: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> onnx.ModelProto:
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval().float(),
            tuple(torch.ones(EXAMPLE_SHAPE, dtype=torch.int64) for _ in inputs),
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=(dynamic,) * len(inputs),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter gave no graph")
    model = program.model_proto
    del model.graph.value_info[:]  # shapes from before the exporter rewrote the graph; some are wrong now
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output, model.graph):
        del part.metadata_props[:]  # source locations on the machine that exports
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporter and the quantizer, which log every step and warn about their own deprecated code."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
