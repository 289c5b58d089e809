"""Choose the engine that serves a checkpoint on this machine."""

import logging
import os
import platform
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.errors import CheckpointUnsupported, install_hint
from pipelines.format.manifest import GRAPH, INT8_GRAPH, Manifest

logger = logging.getLogger(__name__)

Backend = Literal["torch", "onnx"]
Dtype = Literal["float32", "bfloat16", "float16", "int8"]


class EngineSettings(BaseModel):
    """Where and how a model runs. `choose` resolves "auto"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU if the replica has one.")
    dtype: Literal["auto"] | Dtype = Field("auto", description="Of the arithmetic; auto: the fastest available.")
    backend: Literal["auto"] | Backend = Field("auto", description="auto: ONNX Runtime on a CPU, PyTorch on a GPU.")
    threads: int = Field(1, ge=1, description="CPU threads per batch; more threads than idle cores are slower.")
    slots: int | None = Field(
        None, ge=1, description="Batches that run at once in a replica; null: 1 for PyTorch on a CPU, otherwise 2."
    )
    lone_threads: int | None = Field(
        None,
        ge=1,
        description="CPU threads of an item that runs alone in a replica, for ONNX Runtime; null: those of all slots, "
        "if the weights have at most 256 MiB. Unless it is `threads`, a replica loads the model again for it.",
    )


REFERENCE = EngineSettings(device="cpu", backend="torch", dtype="float32")
"""The engine whose results the others are compared with."""
ONNX: dict[Dtype, str] = {"float32": GRAPH, "int8": INT8_GRAPH}
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
CPU_INFO = Path("/proc/cpuinfo")
LARGEST_LOADED_TWICE = 256 * 2**20  # bytes of weights in the checkpoint
INT8_DOT_PRODUCT = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}


@dataclass(frozen=True, slots=True)
class Choice:
    """The resolved `EngineSettings`, without "auto"."""

    backend: Backend
    device: str
    dtype: Dtype
    threads: int
    slots: int

    @property
    def name(self) -> str:
        """A description for people, such as "onnx int8 on cpu"."""
        return f"{self.backend} {self.dtype} on {self.device}"


def choose(folder: Path, manifest: Manifest, settings: EngineSettings) -> Choice:
    """The fastest engine that `settings` allow and the checkpoint supports.

    On a GPU: PyTorch in float16. On a CPU: int8, if the checkpoint has an int8 graph (it passed the quality gate) and
    the CPU multiplies int8 natively (on other CPUs the kernels may saturate). Otherwise float32, in ONNX Runtime if the
    checkpoint has a graph. Raises CheckpointUnsupported if the settings require something that the checkpoint lacks or
    that no engine of this project does.
    """
    device = _device(settings)
    dtype = _dtype(settings, manifest, device)
    backend = _backend(settings, manifest, device, dtype)
    if reason := _refusal(manifest, device, backend, dtype):
        raise CheckpointUnsupported(str(folder), reason)
    slots = settings.slots or (1 if (backend, device) == ("torch", "cpu") else 2)
    return Choice(backend, device, dtype, settings.threads, slots)


def replica_engines(
    folder: Path, manifest: Manifest, settings: EngineSettings
) -> tuple[EngineSettings, EngineSettings | None]:
    """The settings, without "auto", of a replica's engine, and of a second one for lone items if there is one.

    Only ONNX Runtime needs a second one: its number of threads is fixed when the graph is loaded. Raises as `choose`.
    """
    choice = choose(folder, manifest, settings)
    resolved = {"device": choice.device, "dtype": choice.dtype, "backend": choice.backend, "slots": choice.slots}
    engine = settings.model_copy(update=resolved)
    if choice.backend != "onnx":
        return engine, None
    weights_bytes = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    most = choice.slots * choice.threads if weights_bytes <= LARGEST_LOADED_TWICE else choice.threads
    threads = settings.lone_threads or most
    return engine, None if threads == choice.threads else engine.model_copy(update={"threads": threads, "slots": 1})


def _refusal(manifest: Manifest, device: str, backend: Backend, dtype: Dtype) -> str | None:
    if backend == "torch":
        if find_spec("torch") is None:
            return f"PyTorch is needed to run it but is not installed; {install_hint('models')}"
        return "PyTorch does not run int8 here" if dtype == "int8" else None
    if device != "cpu":
        return f"ONNX Runtime runs on the CPU here, not on {device}"
    if ONNX.get(dtype) in manifest.files:
        return None
    remedy = "; `munjang quantize` adds one" if dtype == "int8" else ""
    return f"holds no ONNX graph in {dtype}{remedy}"


def _device(settings: EngineSettings) -> str:
    if settings.device != "auto":
        return settings.device
    if settings.backend == "onnx" or settings.dtype == "int8" or not NVIDIA_DRIVER.exists():
        return "cpu"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:  # Ray sets this for a replica without GPUs
        return "cpu"
    if find_spec("torch") is None:
        logger.warning(
            "there is a GPU, but PyTorch is not installed: models run on the CPU; %s", install_hint("models")
        )
        return "cpu"
    import torch  # only if there may be a GPU: it takes two seconds and 200 MB

    return "cuda" if torch.cuda.is_available() else "cpu"


def _dtype(settings: EngineSettings, manifest: Manifest, device: str) -> Dtype:
    if settings.dtype != "auto":
        return settings.dtype
    if device == "cuda":
        return "float16"
    if settings.backend == "torch" or ONNX["int8"] not in manifest.files:
        return "float32"
    if not multiplies_int8():
        logger.info("%s runs in float32: the CPU has no int8 dot products, for which it has a graph", manifest.name)
        return "float32"
    return "int8"


def _backend(settings: EngineSettings, manifest: Manifest, device: str, dtype: Dtype) -> Backend:
    if settings.backend != "auto":
        return settings.backend
    if dtype == "int8":
        return "onnx"
    return "onnx" if device == "cpu" and ONNX.get(dtype) in manifest.files else "torch"


def multiplies_int8() -> bool:
    """Whether the CPU has int8 dot products (VNNI, AMX or ARM's); without /proc, whether it is an ARM CPU."""
    if not CPU_INFO.is_file():
        return platform.machine() in {"arm64", "aarch64"}
    flags = next((line for line in CPU_INFO.read_text().splitlines() if line.startswith(("flags", "Features"))), "")
    return not INT8_DOT_PRODUCT.isdisjoint(flags.split())
