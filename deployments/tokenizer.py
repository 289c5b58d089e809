"""The tokenizer deployment, bound once per checkpoint: StsTokenizer, ColaTokenizer, QaTokenizer."""

import asyncio
from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.calls.remote import RemoteStage
from pipelines.checkpoints.resolve import resolve
from pipelines.format.manifest import Role, Task, verify
from pipelines.format.tokenizer import SentencePairs, TextTokenizer
from pipelines.format.windows import WindowOverrides
from pipelines.qa.window_tokenizer import WindowTokenizer
from pipelines.qa.windows import Windows
from pipelines.text.token_batch import TokenBatch

POLL_S = 0.25
MODEL_WITHIN_S = 600.0


@serve.deployment
class Tokenizer:
    """One checkpoint's tokenizer; each call is on a whole batch."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, checkpoint: str, task: Task, model: DeploymentHandle[Any], windows: WindowOverrides | None = None
    ) -> None:
        """Ready when a replica of `model` serves the same checkpoint: in an update tokens are new from then on, and
        old ones go on being made for a model that is slow to load, or fails to. Raises TimeoutError."""
        folder = resolve(checkpoint, task)
        manifest = verify(folder, task)
        self._text = TextTokenizer.load(folder, manifest)
        self._windows = None if windows is None else WindowTokenizer.load(folder, manifest, windows)
        await serves(model, manifest.digest)

    async def passages(self, texts: Sequence[str], role: Role = "symmetric") -> TokenBatch:
        """One item per text, behind the prompt of this role."""
        return self._text.passages(texts, role)

    async def sentence_pairs(self, pairs: Sequence[tuple[str, str]]) -> SentencePairs:
        """Each different sentence, or pair for a cross-encoder, once."""
        return self._text.sentence_pairs(pairs)

    async def windows(self, requests: Sequence[tuple[str, str]]) -> Windows:
        """The windows of (question, context) requests."""
        if self._windows is None:
            raise RuntimeError("bound without window settings")
        return self._windows.windows(requests)


async def serves(model: DeploymentHandle[Any], digest: str) -> None:
    """Wait until some replica of `model` serves this checkpoint. Raises TimeoutError: its place may be what the model
    waits for, and Serve tries again."""
    ask = RemoteStage(model, "checkpoint")
    async with asyncio.timeout(MODEL_WITHIN_S):
        while True:
            if await ask() == digest:
                return
            await asyncio.sleep(POLL_S)
