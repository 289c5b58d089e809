"""The tokenizer deployment, bound once per checkpoint: StsTokenizer, ColaTokenizer, QaTokenizer."""

from collections.abc import Sequence

from ray import serve

from pipelines.checkpoints.manifest import Task
from pipelines.checkpoints.resolve import resolve
from pipelines.checkpoints.verify import verify
from pipelines.qa.windows import Windows, WindowSettings
from pipelines.tokenization import SentencePairs, TextTokenizer, WindowTokenizer
from pipelines.tokens import TokenBatch


@serve.deployment
class Tokenizer:
    """One checkpoint's tokenizer; each call is on a whole batch."""

    def __init__(self, checkpoint: str, task: Task, windows: WindowSettings | None = None) -> None:
        folder = resolve(checkpoint, task)
        manifest = verify(folder, task)
        self._text = TextTokenizer.load(folder, manifest)
        self._windows = WindowTokenizer.load(folder, manifest, windows) if windows else None

    async def passages(self, texts: Sequence[str]) -> TokenBatch:
        """One item per text."""
        return self._text.passages(texts)

    async def sentence_pairs(self, pairs: Sequence[tuple[str, str]]) -> SentencePairs:
        """Each different sentence, or pair for a cross-encoder, once."""
        return self._text.sentence_pairs(pairs)

    async def windows(self, requests: Sequence[tuple[str, str]]) -> Windows:
        """The windows of (question, context) requests."""
        if self._windows is None:
            raise RuntimeError("bound without window settings")
        return self._windows.windows(requests)
