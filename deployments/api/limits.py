"""Limits on the texts of a request, and the header that reports a text that was not read completely."""

from pipelines.errors import TooLarge

TRUNCATED = "X-Truncated"  # response header; set if a text has more tokens than the model reads


def refuse_long(what: str, text: str, max_characters: int) -> None:
    """Raise TooLarge, with `what` as the name of the field, if `text` has more than `max_characters`."""
    if len(text) > max_characters:
        raise TooLarge(what, max_characters, "characters")
