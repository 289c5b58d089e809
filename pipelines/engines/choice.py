"""Which engine serves a checkpoint on this machine."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import Manifest

Backend = Literal["torch", "onnx"]
Dtype = Literal["float32", "bfloat16", "float16", "int8"]


class EngineSettings(BaseModel):
    """Where and how a model runs. `pipelines.engines.choice` says what "auto" comes to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where the replica was given one.")
    dtype: Literal["auto"] | Dtype = Field("auto", description="Of arithmetic; auto: the fastest that passes.")
    backend: Literal["auto"] | Backend = Field("auto", description="auto: ONNX Runtime on a CPU, PyTorch on a GPU.")
    threads: int = Field(1, ge=1, description="CPU threads of one batch; more than idle cores run slower.")
    slots: int | None = Field(
        None, ge=1, description="Batches that run at once in a replica; null: 2, save for PyTorch on a CPU 1."
    )


ONNX: dict[Dtype, str] = {"float32": "model.onnx", "int8": "model.int8.onnx"}
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
CPU_INFO = Path("/proc/cpuinfo")
INT8_DOT_PRODUCT = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}


@dataclass(frozen=True, slots=True)
class Choice:
    """What `EngineSettings` come to: nothing is "auto" any more."""

    backend: Backend
    device: str
    dtype: Dtype
    threads: int
    slots: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.backend} {self.dtype} on {self.device}"


def choose(folder: Path, manifest: Manifest, settings: EngineSettings) -> Choice:
    """The fastest engine that `settings` leave open and the checkpoint has.

    On a GPU: PyTorch in float16. On a CPU: int8 where the checkpoint holds it, which it does only if it passed the
    quality gate, and the CPU multiplies int8 natively (elsewhere the kernels may saturate); else float32, in ONNX
    Runtime where the checkpoint holds its graph. Raises CheckpointUnsupported where the settings demand what the
    checkpoint lacks or no engine here does.
    """
    device = _device(settings)
    dtype = _dtype(settings, manifest, device)
    backend = _backend(settings, manifest, device, dtype)
    if reason := _refusal(manifest, device, backend, dtype):
        raise CheckpointUnsupported(str(folder), reason)
    slots = settings.slots or (1 if (backend, device) == ("torch", "cpu") else 2)
    return Choice(backend, device, dtype, settings.threads, slots)


def _refusal(manifest: Manifest, device: str, backend: Backend, dtype: Dtype) -> str | None:
    if backend == "torch":
        return "PyTorch does not run int8 here" if dtype == "int8" else None
    if device != "cpu":
        return f"ONNX Runtime runs on the CPU here, not on {device}"
    if ONNX.get(dtype) in manifest.files:
        return None
    remedy = "; `pipelines.checkpoints quantize` adds one" if dtype == "int8" else ""
    return f"holds no ONNX graph in {dtype}{remedy}"


def _device(settings: EngineSettings) -> str:
    if settings.device != "auto":
        return settings.device
    if settings.backend == "onnx" or settings.dtype == "int8" or not NVIDIA_DRIVER.exists():
        return "cpu"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:  # what Ray gives a replica without GPUs
        return "cpu"
    import torch  # only where there may be a GPU: it takes two seconds and 200 MB

    return "cuda" if torch.cuda.is_available() else "cpu"


def _dtype(settings: EngineSettings, manifest: Manifest, device: str) -> Dtype:
    if settings.dtype != "auto":
        return settings.dtype
    if device == "cuda":
        return "float16"
    int8 = settings.backend != "torch" and ONNX["int8"] in manifest.files and multiplies_int8()
    return "int8" if int8 else "float32"


def _backend(settings: EngineSettings, manifest: Manifest, device: str, dtype: Dtype) -> Backend:
    if settings.backend != "auto":
        return settings.backend
    if dtype == "int8":
        return "onnx"
    return "onnx" if device == "cpu" and ONNX.get(dtype) in manifest.files else "torch"


def multiplies_int8() -> bool:
    """Whether the CPU has int8 dot products (VNNI, AMX, or ARM's); where no /proc tells, whether it is an ARM."""
    if not CPU_INFO.is_file():
        return platform.machine() in {"arm64", "aarch64"}
    flags = next((line for line in CPU_INFO.read_text().splitlines() if line.startswith(("flags", "Features"))), "")
    return not INT8_DOT_PRODUCT.isdisjoint(flags.split())
