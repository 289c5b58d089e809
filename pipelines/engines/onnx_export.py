"""A checkpoint's model as an ONNX graph, `model.onnx`, which shares its weights with `model.safetensors`."""

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
from pipelines.engines.engine import OUTPUTS
from pipelines.engines.onnx_engine import PAD_ID
from pipelines.engines.onnx_weights import SAFETENSORS, share_weights
from pipelines.engines.torch_engine import takes_types
from pipelines.errors import CheckpointUnsupported
from pipelines.format.gated_conv import GatedConvModel
from pipelines.format.kinds import auto_class_of
from pipelines.format.loading import load_transformers
from pipelines.format.manifest import Manifest
from pipelines.format.sentence_transformer import load_sentence_transformer

EXAMPLE_SHAPE = (3, 9)  # items, tokens: unlike any size of a model, so that tracing takes neither for a constant
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Headed(nn.Module):
    """A transformers model with the named outputs, as a function of tensors."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Each input (items, tokens)."""
        output = self.model(**_named(input_ids, attention_mask, token_type_ids))
        return tuple(output[name] for name in self.names)


class Embedder(nn.Module):
    """A SentenceTransformer as a function of tensors, its embeddings brought to unit length."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Each input (items, tokens) to (items, dimensions)."""
        embedding = self.model(_named(input_ids, attention_mask, token_type_ids))["sentence_embedding"]
        return nn.functional.normalize(embedding, dim=1)


class StaticEmbedder(nn.Module):
    """The mean of fixed token embeddings over a padded batch, of unit length; zeros for an item without tokens."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Each input (items, tokens) to (items, dimensions)."""
        mask = attention_mask[..., None].to(self.weight.dtype)  # (items, tokens, 1)
        total = (nn.functional.embedding(input_ids, self.weight) * mask).sum(dim=1)
        return nn.functional.normalize(total / mask.sum(dim=1).clamp(min=1), dim=1)


def _named(*tensors: Tensor | None) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in zip(INPUTS, tensors, strict=True) if tensor is not None}


def write_onnx(folder: Path, manifest: Manifest) -> Path:
    """Trace the model of a checkpoint into `model.onnx`; items and tokens may be any number.

    What can go wrong is whatever PyTorch's exporter raises, and CheckpointUnsupported for modules that it can't see.
    """
    if manifest.kind == "bi-encoder":
        model = load_sentence_transformer(folder)
        module, inputs = _embedder(folder, model), _inputs(model[0])
        pad_id = getattr(model.tokenizer, "pad_token_id", 0)  # static embeddings have a tokenizer without
    else:
        model = load_transformers(auto_class_of(manifest.kind), folder)
        if isinstance(model, GatedConvModel):
            model.multiply()
        module, inputs, pad_id = Headed(model, OUTPUTS[manifest.kind]), _inputs(model), model.config.pad_token_id
    traced = _trace(module, inputs, OUTPUTS[manifest.kind])
    helper.set_model_props(traced, {PAD_ID: str(pad_id or 0)})
    share_weights(traced, folder / SAFETENSORS)
    path = folder / ONNX["float32"]
    onnx.save(traced, path)
    return path


def _embedder(folder: Path, model: SentenceTransformer) -> nn.Module:
    if not isinstance(model[0], StaticEmbedding):
        return Embedder(model)
    if not all(isinstance(module, Normalize) for module in list(model)[1:]):
        raise CheckpointUnsupported(str(folder), "static embeddings with further modules are not traced")
    return StaticEmbedder(model[0].embedding.weight.detach())


def _inputs(model: nn.Module) -> tuple[str, ...]:
    """The `INPUTS` that the model has a use for."""
    if isinstance(model, StaticEmbedding):
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
    del model.graph.value_info[:]  # shapes from before the exporter's own rewriting, of which some are wrong now
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output, model.graph):
        del part.metadata_props[:]  # where in whose source each node comes from
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """The exporter and the quantizer narrate every step, and warn of their own deprecated parts."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
