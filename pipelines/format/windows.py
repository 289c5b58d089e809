"""How the contexts of a QA checkpoint are cut into windows; part of its manifest."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_SPECIAL_TOKENS = 4


class WindowSettings(BaseModel):
    """How a context is cut into windows; all lengths are in tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_seq_length: int = Field(128, ge=16, description="Length of a window: question, context and special tokens.")
    max_query_length: int = Field(32, ge=1, description="Longer questions are cut.")
    max_answer_length: int = Field(30, ge=1, description="Length of the longest answer.")
    doc_stride: int = Field(64, ge=1, description="Context tokens from one window's start to the next one's.")

    @model_validator(mode="after")
    def _an_answer_fits_a_window(self) -> Self:
        if self.max_seq_length < self.max_query_length + self.max_answer_length + MOST_SPECIAL_TOKENS:
            raise ValueError("max_seq_length has no room for the longest question and the longest answer together")
        return self

    def stride(self, room: int) -> int:
        """The distance between the starts of windows that hold `room` context tokens.

        It is `doc_stride`, or less, so that every answer of up to `max_answer_length` tokens fits in some window.
        """
        return min(self.doc_stride, room - self.max_answer_length + 1)


class WindowOverrides(BaseModel):
    """The user's settings for windows; None: the checkpoint's own value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_seq_length: int | None = Field(
        None, ge=16, description="Length of a window: question, context and special tokens."
    )
    max_query_length: int | None = Field(None, ge=1, description="Longer questions are cut.")
    max_answer_length: int | None = Field(None, ge=1, description="Length of the longest answer.")
    doc_stride: int | None = Field(None, ge=1, description="Context tokens from one window's start to the next one's.")

    def over(self, own: WindowSettings) -> WindowSettings:
        """`own` with the values set here. Raises ValidationError if the longest answer then fits no window."""
        return WindowSettings.model_validate(own.model_dump() | self.model_dump(exclude_none=True))
