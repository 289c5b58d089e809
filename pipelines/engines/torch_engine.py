"""Forward passes in PyTorch, from ragged tokens to float32 arrays.

The engines have two options for models with attention layers:

packed    run the layers without padding if the model supports it (`pipelines.engines.packed`); None: only on a GPU
compiled  compile the layers: this fuses the operations between matrix products, but makes loading slow
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial, wraps
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.engines.choice import Choice
from pipelines.engines.packed import Packing, Stack
from pipelines.engines.transfer import Transfer
from pipelines.text.token_batch import TokenBatch

if TYPE_CHECKING:  # takes a second and 100 MB; callers that pass a model have imported it already
    from sentence_transformers import SentenceTransformer

Arrays = dict[str, NDArray[np.int64]]
BY_LENGTH = {"dynamic", "longrope"}
"""Types of rotary embeddings whose frequencies depend on the longest text of a batch."""


class TorchEngine:
    """Runs a transformers model with a head. `token_types` says whether its tokenizer gives token types."""

    def __init__(
        self,
        module: nn.Module,
        choice: Choice,
        *,
        pad_id: int,
        token_types: bool = True,
        packed: bool | None = None,
        compiled: bool = False,
    ) -> None:
        arrays = PaddedArrays(module, pad_id, token_types=token_types)
        self._model = PlacedModel(lambda inputs: module(**inputs), arrays)
        traits = self._model.place(module, Stack.of(module), choice, packed=packed, compiled=compiled)
        self.name = ", ".join([choice.name, *traits])
        self.slots = choice.slots
        self.padding_cost = 1.0

    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.outputs`."""
        return self._model.outputs(batch, names)


class SentenceTransformerEngine:
    """Runs a SentenceTransformer: a transformers model or a table of token embeddings, and further modules.

    token_types  whether its tokenizer gives token types
    dimensions   embeddings are cut to their first dimensions; None: not cut
    """

    def __init__(
        self,
        model: "SentenceTransformer",
        choice: Choice,
        *,
        token_types: bool = True,
        dimensions: int | None = None,
        packed: bool | None = None,
        compiled: bool = False,
    ) -> None:
        encoder: nn.Module | None = getattr(model[0], "auto_model", None)
        arrays: Callable[[TokenBatch], Arrays] = flat_arrays
        if encoder is not None:
            arrays = PaddedArrays(encoder, int(model.tokenizer.pad_token_id or 0), token_types=token_types)
        self._model = PlacedModel(lambda inputs: _unit_length(model(inputs), dimensions), arrays)
        stack = None if encoder is None else Stack.of(encoder)
        traits = self._model.place(model, stack, choice, packed=packed, compiled=compiled)
        self.name = ", ".join([choice.name, *traits])
        self.slots = choice.slots
        self.padding_cost = 1.0

    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.outputs`."""
        return self._model.outputs(batch, names)


def _unit_length(features: Mapping[str, Tensor], dimensions: int | None) -> dict[str, Tensor]:
    """Cut embeddings to their first dimensions and scale them to unit length, in the order of sentence-transformers.

    The embedding of a sentence without tokens stays zero.
    """
    embedding = features["sentence_embedding"][:, :dimensions].float()
    return {"sentence_embedding": nn.functional.normalize(embedding, dim=1)}


class PlacedModel:
    """A model on its device, which several threads may run on ragged batches at once.

    call    runs the model on inputs by name and returns outputs by name
    arrays  turns a batch into such inputs
    """

    def __init__(
        self, call: Callable[[dict[str, Any]], Mapping[str, Tensor]], arrays: Callable[[TokenBatch], Arrays]
    ) -> None:
        self._call = call
        self._arrays = arrays
        self._transfer = Transfer(torch.device("cpu"))
        self._packed = False
        self._stateful = False
        self._lock = Lock()

    def place(
        self, model: nn.Module, stack: Stack | None, choice: Choice, *, packed: bool | None, compiled: bool
    ) -> list[str]:
        """Move the model to its device and dtype. Returns which of "packed" and "compiled" now apply.

        stack  the layers of the model, if they can be packed and compiled
        """
        wanted = choice.device == "cuda" if packed is None else packed
        self._stateful = forget_earlier_inputs(model)
        model.eval()
        fits = wanted and stack is not None and stack.try_packing(self._run)  # on the CPU in float32: exact
        torch.set_num_threads(choice.threads)
        model.to(device=choice.device, dtype=getattr(torch, choice.dtype))
        self._transfer = Transfer(torch.device(choice.device))
        # The second trial run is on the device, which may lack a kernel.
        self._packed = fits and stack is not None and stack.try_packing(self._run)
        compiled = compiled and stack is not None and stack.compile(self._run, packed=self._packed)
        self._transfer.settle()
        return ["packed"] * self._packed + ["compiled"] * compiled

    def outputs(self, batch: TokenBatch, names: tuple[str, ...]) -> tuple[NDArray[np.float32], ...]:
        """The named outputs, each with items as its first axis."""
        with self._transfer.stream():
            output = self._run(batch, packed=self._packed)
            return self._transfer.to_host([output[name] for name in names])

    @torch.inference_mode()
    def _run(self, batch: TokenBatch, *, packed: bool) -> Mapping[str, Tensor]:
        inputs: dict[str, Any] = {name: self._transfer.to_device(array) for name, array in self._arrays(batch).items()}
        if packed:
            inputs["packing"] = Packing.of(batch, self._transfer.to_device)
        with self._lock if self._stateful else nullcontext():
            return self._call(inputs)


def forget_earlier_inputs(model: nn.Module) -> bool:
    """Make modules that remember earlier inputs begin each batch anew; returns whether `model` contains any.

    transformers' BigBird turns to full attention at the first input that is too short for its sparse attention, and
    never turns back. Rotary embeddings of the type "dynamic" keep the frequencies of the longest input so far. So their
    results would depend on earlier inputs. They are set back before each batch, which one thread at a time may do.
    """
    module: Any
    for module in model.modules():
        if hasattr(module, "set_attention_type"):
            _begin_with(module, partial(module.set_attention_type, module.config.attention_type))
            return True
    rotary = rotary_by_length(model)
    for module in rotary:
        _begin_with(module, partial(_set_frequencies_back, module))
    return bool(rotary)


def rotary_by_length(model: nn.Module) -> list[Any]:
    """The rotary embeddings of a model whose frequencies depend on the longest text of a batch."""
    return [module for module in model.modules() if not BY_LENGTH.isdisjoint(_rope_types(module))]


def _rope_types(module: Any) -> list[str]:
    kinds = getattr(module, "rope_type", ())
    return [kinds] if isinstance(kinds, str) else list(kinds.values() if isinstance(kinds, dict) else kinds)


def _set_frequencies_back(rotary: Any) -> None:
    """Give rotary embeddings the frequencies and the length with which they were made, for each type of layer."""
    originals = [name for name, _ in rotary.named_buffers(recurse=False) if name.endswith("original_inv_freq")]
    for prefix in (name.removesuffix("original_inv_freq") for name in originals):
        setattr(rotary, f"{prefix}inv_freq", getattr(rotary, f"{prefix}original_inv_freq").clone())
        setattr(rotary, f"{prefix}max_seq_len_cached", rotary.original_max_seq_len)


def _begin_with(module: Any, first: Callable[[], object]) -> None:
    """Call `first` before each forward pass. A hook would not be called where a library calls `forward` itself."""
    forward = module.forward

    @wraps(forward)
    def begin_anew(*args: Any, **kwargs: Any) -> Any:
        first()
        return forward(*args, **kwargs)

    module.forward = begin_anew


class PaddedArrays:
    """Turns a batch into the inputs of a transformers model, each of shape (items, longest).

    `token_types` says whether its tokenizer gives token types; without them, the model gets none.
    """

    def __init__(self, model: nn.Module, pad_id: int, *, token_types: bool = True) -> None:
        self._pad_id = pad_id
        self._takes_types = token_types and takes_types(model)

    def __call__(self, batch: TokenBatch) -> Arrays:
        """The inputs by name; padded tokens have the pad id, type 0 and mask 0."""
        arrays = {"input_ids": batch.padded_ids(self._pad_id), "attention_mask": batch.mask.astype(np.int64)}
        return arrays | {"token_type_ids": batch.padded_types()} if self._takes_types else arrays


def flat_arrays(batch: TokenBatch) -> Arrays:
    """The inputs of sentence-transformers' StaticEmbedding: all ids, and the offset at which each item begins."""
    return {"input_ids": batch.ids.astype(np.int64), "offsets": batch.starts[:-1].copy()}


def takes_types(model: nn.Module) -> bool:
    """Whether the model uses token types. A model with one segment (RoBERTa) may have a tokenizer with two (KLUE)."""
    segments = getattr(getattr(model, "config", None), "type_vocab_size", 2)
    return "token_type_ids" in inspect.signature(model.forward).parameters and segments > 1
