"""How a QA checkpoint's contexts are cut into windows: part of its manifest."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_SPECIAL_TOKENS = 4


class WindowSettings(BaseModel):
    """How a context is cut; lengths in tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_seq_length: int = Field(128, ge=16, description="Question, context and special tokens together.")
    max_query_length: int = Field(32, ge=1, description="A longer question is cut.")
    max_answer_length: int = Field(30, ge=1, description="The longest answer.")
    doc_stride: int = Field(64, ge=1, description="Context tokens from one window's start to the next one's.")

    @model_validator(mode="after")
    def _an_answer_fits_a_window(self) -> Self:
        if self.max_seq_length < self.max_query_length + self.max_answer_length + MOST_SPECIAL_TOKENS:
            raise ValueError("max_seq_length has no room for the longest question and the longest answer together")
        return self

    def stride(self, room: int) -> int:
        """Context tokens between the starts of windows of `room` context tokens: `doc_stride`, or less where a
        window could otherwise miss an answer of `max_answer_length` tokens at its edge."""
        return min(self.doc_stride, room - self.max_answer_length + 1)


class WindowOverrides(BaseModel):
    """What a user sets of the windows; None: as the checkpoint was trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_seq_length: int | None = Field(None, ge=16, description="Question, context and special tokens together.")
    max_query_length: int | None = Field(None, ge=1, description="A longer question is cut.")
    max_answer_length: int | None = Field(None, ge=1, description="The longest answer.")
    doc_stride: int | None = Field(None, ge=1, description="Context tokens from one window's start to the next one's.")

    def over(self, own: WindowSettings) -> WindowSettings:
        """`own` but for what is set here. Raises ValidationError where an answer fits no window then."""
        return WindowSettings.model_validate(own.model_dump() | self.model_dump(exclude_none=True))
