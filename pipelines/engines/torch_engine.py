"""Forward passes in PyTorch: ragged tokens in, float32 arrays out."""

import inspect
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from pipelines.engines.choice import Choice
from pipelines.tokens import TokenBatch

Module = TypeVar("Module", bound=torch.nn.Module)


class TorchEngine:
    """One module on one device. Padding is masked, so an item's result does not depend on its batch."""

    def __init__(self, module: torch.nn.Module, choice: Choice, *, pad_id: int) -> None:
        self._device = torch.device(choice.device)
        self._module = place(module, choice)
        self._pad_id = pad_id
        self.takes_types = takes_types(module)
        self.name = choice.name
        self.slots = choice.slots

    @torch.inference_mode()
    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        """The named outputs of a transformers model, each with `items` as first axis."""
        output = self._module(**self.padded(batch))
        return tuple(to_numpy(output[name]) for name in names)

    def padded(self, batch: TokenBatch) -> dict[str, torch.Tensor]:
        """The batch as transformers models take it; each tensor is (items, longest)."""
        arrays: dict[str, NDArray[Any]] = {
            "input_ids": batch.padded_ids(self._pad_id),
            "attention_mask": batch.mask.astype(np.int64),
        }
        if self.takes_types:
            arrays["token_type_ids"] = batch.padded_types()
        return {name: torch.from_numpy(array).to(self._device, non_blocking=True) for name, array in arrays.items()}


class SentenceTransformerEngine:
    """A SentenceTransformer: embeddings of unit length, so that a dot product is a cosine."""

    def __init__(self, model: SentenceTransformer, choice: Choice) -> None:
        self._device = torch.device(choice.device)
        self._model = place(model, choice)
        self._static = isinstance(model[0], StaticEmbedding)
        self._padded = (
            None
            if self._static
            else TorchEngine(model[0].auto_model, choice, pad_id=int(model.tokenizer.pad_token_id or 0)).padded
        )
        self.name = choice.name
        self.slots = choice.slots

    @torch.inference_mode()
    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.outputs`."""
        output = self._model(self._features(batch))
        return tuple(to_numpy(torch.nn.functional.normalize(output[name].float(), dim=1)) for name in names)

    def _features(self, batch: TokenBatch) -> dict[str, torch.Tensor]:
        if self._padded is not None:
            return self._padded(batch)
        ids = torch.from_numpy(batch.ids.astype(np.int64)).to(self._device)
        return {"input_ids": ids, "offsets": torch.from_numpy(batch.starts[:-1].copy()).to(self._device)}


def takes_types(module: torch.nn.Module) -> bool:
    """Whether token types go in: models of one segment (RoBERTa) may come with a tokenizer of two, as KLUE's do."""
    segments = getattr(getattr(module, "config", None), "type_vocab_size", 2)
    return "token_type_ids" in inspect.signature(module.forward).parameters and segments > 1


def place(module: Module, choice: Choice) -> Module:
    """`module` for inference, on its device, in its dtype; sets the process's number of threads."""
    torch.set_num_threads(choice.threads)
    return module.eval().to(device=torch.device(choice.device), dtype=getattr(torch, choice.dtype))


def to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    """The tensor's values in float32, off the device."""
    return np.asarray(tensor.float().cpu().numpy(), dtype=np.float32)
