"""Settings of the language-model provider. The operator makes them; a caller cannot change them."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, TypeAdapter


def _http_url(text: str) -> str:
    url = TypeAdapter(HttpUrl).validate_python(text)
    if url.username or url.password:
        raise ValueError("the URL must not contain a user name or password: each request brings its caller's key")
    if url.fragment is not None:
        raise ValueError("the URL must not contain a fragment (#), which no server sees")
    return text


class ProviderSettings(BaseModel):
    """A server that speaks OpenAI's chat-completions protocol, and the limits of requests to it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    base_url: Annotated[str, AfterValidator(_http_url)] = Field(
        description="URL of the server, with the version in its path or query, e.g. https://api.openai.com/v1."
    )
    model: str = Field(min_length=1, description="Name of the model at the provider.")
    # Each of the next three is sent only where it is set: some models refuse a request that contains it.
    temperature: float | None = Field(
        None, ge=0, le=2, description="Sampling temperature; 0 always takes the likeliest token."
    )
    max_completion_tokens: int | None = Field(None, ge=1, description="Most tokens of an answer, reasoning included.")
    max_tokens: int | None = Field(None, ge=1, description="The same, for servers that use this name.")
    max_answer_bytes: int = Field(2**22, ge=1, description="Largest response; a larger one gives 502.")
    max_connections: int = Field(256, ge=1, description="Most connections to the provider from each replica.")
    connect_timeout_s: float = Field(5.0, gt=0, description="Seconds to open a connection.")
    timeout_s: float = Field(
        40.0,
        gt=0,
        description="Seconds to an answer, retries included; of a stream, to its first piece and between two pieces.",
    )
    stream_timeout_s: float = Field(300.0, gt=0, description="Seconds to the end of a stream.")
    max_retries: int = Field(2, ge=0, description="Retries after 429, 5xx or a broken connection, while time is left.")
    failures_to_open: int = Field(
        5, ge=1, description="Failures in a row after which no request is sent to the provider for `open_s` seconds."
    )
    open_s: float = Field(
        10.0, gt=0, description="Seconds without requests to the provider; then one is sent as a trial."
    )
