"""Forward passes in PyTorch: ragged tokens in, float32 arrays out."""

import inspect
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.engines.settings import EngineSettings
from pipelines.tokens import TokenBatch

Module = TypeVar("Module", bound=torch.nn.Module)


class TorchEngine:
    """One module on one device. Padding is masked, so an item's result does not depend on its batch."""

    def __init__(self, module: torch.nn.Module, settings: EngineSettings, *, pad_id: int) -> None:
        self._device = device_of(settings)
        self._module = place(module, settings)
        self._pad_id = pad_id
        self._takes_types = _takes_types(module)
        self.name = f"torch {settings.dtype} on {self._device.type}"

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
        if self._takes_types:
            arrays["token_type_ids"] = batch.padded_types()
        return {name: torch.from_numpy(array).to(self._device, non_blocking=True) for name, array in arrays.items()}


def _takes_types(module: torch.nn.Module) -> bool:
    """Models with one segment (RoBERTa) may come with a tokenizer that numbers two (BERT's), as KLUE's do."""
    segments = getattr(getattr(module, "config", None), "type_vocab_size", 2)
    return "token_type_ids" in inspect.signature(module.forward).parameters and segments > 1


def device_of(settings: EngineSettings) -> torch.device:
    """The device that the settings mean on this machine."""
    cuda = settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if cuda else "cpu")


def place(module: Module, settings: EngineSettings) -> Module:
    """`module` for inference, on its device, in its dtype; sets the process's number of threads."""
    torch.set_num_threads(settings.threads)
    return module.eval().to(device=device_of(settings), dtype=getattr(torch, settings.dtype))


def to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    """The tensor's values in float32, off the device."""
    return np.asarray(tensor.float().cpu().numpy(), dtype=np.float32)
