"""Where and how models run; apart from the engines, so that who only passes settings on need not import torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

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
