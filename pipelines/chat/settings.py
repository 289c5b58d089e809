"""How a language-model provider is asked: the operator's to say, never a caller's."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, TypeAdapter


def _http_url(text: str) -> str:
    url = TypeAdapter(HttpUrl).validate_python(text)
    if url.username or url.password:
        raise ValueError("a URL with a password in it: the key comes with each request")
    return text


class ProviderSettings(BaseModel):
    """A server of OpenAI's chat-completions protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    base_url: Annotated[str, AfterValidator(_http_url)] = Field(
        description="With the version in its path, e.g. https://api.openai.com/v1."
    )
    model: str = Field(min_length=1, description="Its name at the provider.")
    # Each of the next three is sent only where it is set: there are models that refuse a request for having it.
    temperature: float | None = Field(None, ge=0, le=2, description="Of sampling; 0: always the likeliest token.")
    max_completion_tokens: int | None = Field(None, ge=1, description="Of one answer, with the model's thoughts.")
    max_tokens: int | None = Field(None, ge=1, description="The same for servers that know it by this name.")
    max_answer_bytes: int = Field(2**22, ge=1, description="Of one response, JSON or events and all; more is 502.")
    max_connections: int = Field(256, ge=1, description="With the provider, from each replica.")
    connect_timeout_s: float = Field(5.0, gt=0, description="To a connection.")
    timeout_s: float = Field(
        40.0, gt=0, description="To an answer, repeats included; in a stream to its first piece, and between two."
    )
    stream_timeout_s: float = Field(300.0, gt=0, description="To the end of a stream.")
    max_retries: int = Field(2, ge=0, description="Repeats after 429, 5xx or a broken connection, while time is left.")
    failures_to_open: int = Field(
        5, ge=1, description="Requests that fail in a row until no more are sent to the provider for a while."
    )
    open_s: float = Field(10.0, gt=0, description="How long that is, until one is let through to try.")
