"""Where and how models run; apart from the engines, so that who only passes settings on need not import torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EngineSettings(BaseModel):
    """Where and how a model runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where the replica was given one.")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Of weights and arithmetic.")
    threads: int = Field(1, ge=1, description="CPU threads of one forward pass; more than idle cores run slower.")
