"""What a server of OpenAI's chat-completions protocol answers, in all the shapes in which servers give a text.

A part of an answer that has another shape than expected counts as having no text.
"""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field

from pipelines.chat.event_stream import ErrorInStream


class _Value(BaseModel):
    value: str


class _Part(BaseModel):
    """A part of a message. Its text is None where it is something else, such as an image or the model's reasoning."""

    text: str | _Value | None = None


Content = str | _Part | list[_Part | str | None] | None
"""The content of a message: text, one or several parts (as Mistral sends them), or null where it only calls a tool."""


class _Message(BaseModel):
    content: Content = None
    refusal: str | None = None  # in place of a content

    @property
    def text(self) -> str:
        """The text that a caller is to read; "" if there is none."""
        parts = self.content if isinstance(self.content, list) else [self.content]
        return "".join(map(_text, parts)) or self.refusal or ""


class _Choice(BaseModel):
    """One of the answers that a server may give. Without an index it counts as the first, as with index 0."""

    index: Any = None
    message: _Message | None = None
    delta: _Message | None = None  # null or absent where Azure tells what its filter has checked
    text: str | None = None  # in place of both, as in the protocol of plain completions
    error: Any = None

    def model_post_init(self, _: Any) -> None:
        """Turn a plain text into a message, whole or as a piece."""
        if self.text is not None and self.message is None and self.delta is None:
            self.message = self.delta = _Message(content=self.text)


class _Completion(BaseModel):
    choices: list[_Choice | None] = Field(min_length=1)


class Chunk(BaseModel):
    """An event of a streamed answer."""

    choices: list[_Choice | None] | None = None  # empty in a chunk with token counts
    error: Any = None

    def raise_error(self) -> None:
        """Raise ErrorInStream if this is an error, of the stream or of a choice."""
        if self.error or any(choice.error for choice in self.choices or () if choice):
            raise ErrorInStream

    def deltas(self) -> str:
        """The next piece of the answer; "" if there is none."""
        return _first_text(choice.delta for choice in _in_order(self.choices))

    def messages(self) -> str:
        """The same, where a server names it `message`, which elsewhere repeats the whole answer."""
        return _first_text(choice.message for choice in _in_order(self.choices))


def text_of_completion(body: bytes) -> str:
    """The text of an answer that came whole, "" if it has none. Raises ValueError if it is no completion."""
    completion = _Completion.model_validate_json(body.decode("utf-8-sig"))
    messages = [choice.message for choice in _in_order(completion.choices) if choice.message]
    if not messages:
        raise ValueError("a completion without a message")
    return _first_text(messages)


def _in_order(choices: Iterable[_Choice | None] | None) -> list[_Choice]:
    """The choices by their index: a server may send them in another order."""
    there = [choice for choice in choices or () if choice]
    return sorted(there, key=lambda choice: choice.index if isinstance(choice.index, int) else 0)


def _first_text(messages: Iterable[_Message | None]) -> str:
    return next((text for message in messages if message and (text := message.text)), "")


def _text(part: _Part | str | None) -> str:
    text = part.text if isinstance(part, _Part) else part
    return text.value if isinstance(text, _Value) else text or ""
