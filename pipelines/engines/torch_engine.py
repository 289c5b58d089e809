"""Forward passes in PyTorch: ragged tokens in, float32 arrays out."""

import inspect
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipelines.tokens import TokenBatch


class EngineSettings(BaseModel):
    """Where and how a model runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where the replica was given one.")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Of weights and arithmetic.")
    threads: int = Field(1, ge=1, description="CPU threads of one forward pass; more than idle cores run slower.")

    @property
    def torch_device(self) -> torch.device:
        """The device that `auto` means here."""
        cuda = self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())
        return torch.device("cuda" if cuda else "cpu")

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch's own."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype


class TorchEngine:
    """One module on one device. Padding is masked, so an item's result does not depend on its batch."""

    def __init__(self, module: torch.nn.Module, settings: EngineSettings, *, pad_id: int) -> None:
        torch.set_num_threads(settings.threads)
        self._device = settings.torch_device
        self._module = module.eval().to(device=self._device, dtype=settings.torch_dtype)
        self._pad_id = pad_id
        self._takes_types = "token_type_ids" in inspect.signature(module.forward).parameters
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


def to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    """The tensor's values in float32, off the device."""
    return np.asarray(tensor.float().cpu().numpy(), dtype=np.float32)
