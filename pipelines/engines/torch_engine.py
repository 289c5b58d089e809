"""Forward passes in PyTorch: ragged tokens in, float32 arrays out.

Engines of models with layers of attention take two switches:

packed    whether the layers run without padding where the model can (`pipelines.engines.packed`); None: on a GPU
compiled  whether the layers are compiled, which fuses what lies between matrix products and makes the start slow
"""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.engines.choice import Choice
from pipelines.engines.packed import Packing, Stack
from pipelines.engines.transfer import Transfer
from pipelines.text.token_batch import TokenBatch

if TYPE_CHECKING:  # takes a second and 100 MB, and who has a model of it has imported it
    from sentence_transformers import SentenceTransformer

Arrays = dict[str, NDArray[np.int64]]


class TorchEngine:
    """A transformers model with a head."""

    def __init__(
        self, module: nn.Module, choice: Choice, *, pad_id: int, packed: bool | None = None, compiled: bool = False
    ) -> None:
        self._model = PlacedModel(lambda inputs: module(**inputs), PaddedArrays(module, pad_id))
        traits = self._model.place(module, Stack.of(module), choice, packed=packed, compiled=compiled)
        self.name = ", ".join([choice.name, *traits])
        self.slots = choice.slots

    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.outputs`."""
        return self._model.outputs(batch, names)


class SentenceTransformerEngine:
    """A SentenceTransformer: a transformers model or a table of token embeddings, and what comes behind it."""

    def __init__(
        self, model: "SentenceTransformer", choice: Choice, *, packed: bool | None = None, compiled: bool = False
    ) -> None:
        encoder: nn.Module | None = getattr(model[0], "auto_model", None)
        arrays = flat_arrays if encoder is None else PaddedArrays(encoder, int(model.tokenizer.pad_token_id or 0))
        self._model = PlacedModel(lambda inputs: _unit_length(model(inputs)), arrays)
        stack = None if encoder is None else Stack.of(encoder)
        traits = self._model.place(model, stack, choice, packed=packed, compiled=compiled)
        self.name = ", ".join([choice.name, *traits])
        self.slots = choice.slots

    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.outputs`."""
        return self._model.outputs(batch, names)


def _unit_length(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A sentence without tokens has no direction: its embedding stays zero."""
    return {"sentence_embedding": nn.functional.normalize(features["sentence_embedding"].float(), dim=1)}


class PlacedModel:
    """A model on its device, run on ragged batches, by several threads at once if need be.

    call    runs the model on its inputs, by name, and gives its outputs by name
    arrays  a batch as such inputs
    """

    def __init__(
        self, call: Callable[[dict[str, Any]], Mapping[str, Tensor]], arrays: Callable[[TokenBatch], Arrays]
    ) -> None:
        self._call = call
        self._arrays = arrays
        self._transfer = Transfer(torch.device("cpu"))
        self._packed = False

    def place(
        self, model: nn.Module, stack: Stack | None, choice: Choice, *, packed: bool | None, compiled: bool
    ) -> list[str]:
        """Bring the model to its device and into its dtype; what of `packed` and `compiled` it now is.

        stack  the layers of the model, where they can be packed and compiled
        """
        wanted = choice.device == "cuda" if packed is None else packed
        model.eval()
        fits = wanted and stack is not None and stack.try_packing(self._run)  # on the CPU, in float32: exact
        torch.set_num_threads(choice.threads)
        model.to(device=choice.device, dtype=getattr(torch, choice.dtype))
        self._transfer = Transfer(torch.device(choice.device))
        self._packed = fits and stack is not None and stack.try_packing(self._run)  # has the device a kernel, too?
        compiled = compiled and stack is not None and stack.compile(self._run, packed=self._packed)
        self._transfer.settle()
        return ["packed"] * self._packed + ["compiled"] * compiled

    def outputs(self, batch: TokenBatch, names: tuple[str, ...]) -> tuple[NDArray[np.float32], ...]:
        """The named outputs, each with `items` as first axis."""
        with self._transfer.stream():
            output = self._run(batch, packed=self._packed)
            return self._transfer.to_host([output[name] for name in names])

    @torch.inference_mode()
    def _run(self, batch: TokenBatch, *, packed: bool) -> Mapping[str, Tensor]:
        inputs: dict[str, Any] = {name: self._transfer.to_device(array) for name, array in self._arrays(batch).items()}
        if packed:
            inputs["packing"] = Packing.of(batch, self._transfer.to_device)
        return self._call(inputs)


class PaddedArrays:
    """A batch as transformers models take it, each array (items, longest)."""

    def __init__(self, model: nn.Module, pad_id: int) -> None:
        self._pad_id = pad_id
        self._takes_types = takes_types(model)

    def __call__(self, batch: TokenBatch) -> Arrays:
        """Padding holds the pad id and type 0, and its mask is 0."""
        arrays = {"input_ids": batch.padded_ids(self._pad_id), "attention_mask": batch.mask.astype(np.int64)}
        return arrays | {"token_type_ids": batch.padded_types()} if self._takes_types else arrays


def flat_arrays(batch: TokenBatch) -> Arrays:
    """A batch as sentence-transformers' StaticEmbedding takes it: all ids, and where each item's begin."""
    return {"input_ids": batch.ids.astype(np.int64), "offsets": batch.starts[:-1].copy()}


def takes_types(model: nn.Module) -> bool:
    """Whether token types go in: models of one segment (RoBERTa) may come with a tokenizer of two, as KLUE's do."""
    segments = getattr(getattr(model, "config", None), "type_vocab_size", 2)
    return "token_type_ids" in inspect.signature(model.forward).parameters and segments > 1
