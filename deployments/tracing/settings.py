"""The settings of traces."""

from pydantic import BaseModel, ConfigDict, Field


class TracingSettings(BaseModel):
    """Where spans go, and how many requests are traced."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = Field(
        pattern=r"^https?://\S+$",
        description="Base URL of a collector that takes OTLP over HTTP, such as http://collector:4318.",
    )
    sampling_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of the requests that are traced. It does not apply to callers with a `traceparent`, which "
        "says whether the request is traced.",
    )
