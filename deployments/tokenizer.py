"""The tokenizer deployment, bound once per checkpoint as StsTokenizer, ColaTokenizer and QaTokenizer."""

import asyncio
from collections.abc import Sequence
from time import perf_counter, process_time
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.calls.remote import RemoteStage
from deployments.calls.without_messages import without_messages
from deployments.metrics.publish import start_publishing
from deployments.metrics.tokenizer import TokenizerMetrics
from deployments.reports import Recent, ReplicaReport, Sums
from deployments.tracing.settings import TracingSettings
from deployments.tracing.spans import record, start_tracing
from pipelines.checkpoints.resolve import NOTHING_SAID, OutputOptions, resolve
from pipelines.format.manifest import Role, Task, verify
from pipelines.format.token_ids import IdTokenizer, TextOrIds, Token, TokenizedInputs
from pipelines.format.tokenizer import SentencePairs, TextTokenizer
from pipelines.format.windows import WindowOverrides, WindowSettings
from pipelines.qa.window_tokenizer import WindowTokenizer
from pipelines.qa.windows import Windows
from pipelines.text.token_batch import TokenBatch

POLL_S = 0.25
MODEL_TIMEOUT_S = 600.0


@serve.deployment
class Tokenizer:
    """The tokenizer of one checkpoint. Each call takes a whole batch."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        checkpoint: str,
        task: Task,
        model: DeploymentHandle[Any],
        windows: WindowOverrides | None = None,
        outputs: OutputOptions = NOTHING_SAID,
        tracing: TracingSettings | None = None,
    ) -> None:
        """Load the tokenizer, and wait until a replica of `model` serves the same checkpoint. Raises TimeoutError.

        During an update the old tokenizer therefore stays until the new model is loaded, even if that is slow or fails.
        """
        folder = resolve(checkpoint, task, outputs)
        manifest = verify(folder, task)
        self._text = TextTokenizer.load(folder, manifest)
        self._ids = IdTokenizer(self._text, manifest)
        self._metrics = TokenizerMetrics(task, manifest.name)
        self._calls = self._texts = 0
        self._recent = Recent(lambda: Sums(process_time(), self._calls, self._texts))
        self._windows = None if windows is None else WindowTokenizer.load(folder, manifest, windows)
        await wait_until_served(model, manifest.digest)
        start_publishing()
        start_tracing(tracing, f"{task.capitalize()}Tokenizer")

    @without_messages
    async def passages(
        self, texts: Sequence[str], role: Role = "symmetric", traceparent: str | None = None
    ) -> TokenBatch:
        """Tokenize each text, with the prompt of this role before it."""
        started_s = perf_counter()
        tokens = self._text.passages(texts, role)
        self._tokenized(started_s, texts, tokens, traceparent)
        return tokens

    @without_messages
    async def sentence_pairs(self, pairs: Sequence[tuple[str, str]], traceparent: str | None = None) -> SentencePairs:
        """Tokenize each different sentence once, or each different pair if the checkpoint is a cross-encoder."""
        started_s = perf_counter()
        tokenized = self._text.sentence_pairs(pairs)
        self._tokenized(started_s, pairs, tokenized.tokens, traceparent)
        return tokenized

    @without_messages
    async def windows(
        self,
        requests: Sequence[tuple[str, str]],
        settings: Sequence[WindowSettings | None] | None = None,
        traceparent: str | None = None,
    ) -> Windows:
        """Tokenize (question, context) requests into windows; a request may have `settings` of its own.

        Raises RuntimeError if this tokenizer has no window settings.
        """
        if self._windows is None:
            raise RuntimeError("this tokenizer has no window settings")
        started_s = perf_counter()
        windows = self._windows.windows(requests, settings)
        self._tokenized(started_s, requests, windows.tokens, traceparent)
        return windows

    @without_messages
    async def inputs(self, inputs: Sequence[tuple[TextOrIds, Role]], traceparent: str | None = None) -> TokenizedInputs:
        """Tokenize texts, or check token ids, each with the prompt of its role."""
        started_s = perf_counter()
        tokenized = self._ids.inputs(inputs)
        self._tokenized(started_s, inputs, tokenized.tokens, traceparent)
        return tokenized

    @without_messages
    async def tokens(self, texts: Sequence[str], role: Role, whole_input: bool) -> list[list[Token]]:
        """Show the tokens of each text, with prompt and special tokens or without."""
        return self._ids.tokens(texts, role, whole_input=whole_input)

    @without_messages
    async def decode(self, ids: Sequence[Sequence[int]], skip_special_tokens: bool) -> list[str]:
        """Show the text of each list of token ids. Raises InvalidInput."""
        return self._ids.decode(ids, skip_special_tokens=skip_special_tokens)

    async def report(self) -> ReplicaReport:
        """For /v1/graph: what `ReplicaReport` says."""
        return self._recent.report(requests=self._calls)

    def _tokenized(
        self, started_s: float, texts: Sequence[object], tokens: TokenBatch, traceparent: str | None
    ) -> None:
        """Record the time, and what the texts of a call became."""
        seconds = perf_counter() - started_s
        self._calls += 1
        self._texts += len(texts)
        self._metrics.tokenized(seconds, tokens)
        if traceparent:
            sizes = {"munjang.items": len(tokens), "munjang.tokens": len(tokens.ids)}
            record("tokenize", seconds, [traceparent], **sizes)


async def wait_until_served(model: DeploymentHandle[Any], digest: str) -> None:
    """Wait until some replica of `model` serves the checkpoint with this digest.

    Raises TimeoutError after `MODEL_TIMEOUT_S`: the model may be waiting for the resources that this replica occupies.
    Serve then starts the replica again.
    """
    ask = RemoteStage(model, "checkpoint")
    async with asyncio.timeout(MODEL_TIMEOUT_S):
        while True:
            if await ask() == digest:
                return
            await asyncio.sleep(POLL_S)
