"""The tokenizer of a QA checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import Manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.format.windows import WindowOverrides, WindowSettings
from pipelines.qa.windows import WindowMaker, Windows


class WindowTokenizer:
    """Converts (question, context) requests to windows, with the tokenizer and window settings of a checkpoint."""

    def __init__(self, text: TextTokenizer, manifest: Manifest, make: WindowMaker) -> None:
        self._text = text
        self._ref = manifest.ref
        self._make = make

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, overrides: WindowOverrides | None = None) -> Self:
        """Load the tokenizer; `overrides` replace window settings of the checkpoint.

        Raises as `TextTokenizer.load`, and CheckpointUnsupported if the windows are longer than the model's input.
        """
        settings = manifest.windows_with(overrides)
        if manifest.max_tokens is not None and settings.max_seq_length > manifest.max_tokens:
            why = f"reads {manifest.max_tokens} tokens, less than max_seq_length {settings.max_seq_length}"
            why += "; name shorter windows: munjang import --windows, or qa.windows in serve_config.yaml"
            raise CheckpointUnsupported(str(folder), why)
        text = TextTokenizer.load(folder, manifest)
        return cls(text, manifest, WindowMaker(text.tokenizer, settings))

    def windows(
        self, requests: Sequence[tuple[str, str]], settings: Sequence[WindowSettings | None] | None = None
    ) -> Windows:
        """The windows of (question, context) requests, in order. A request may have window `settings` of its own."""
        return self._make(requests, self._ref, settings)
