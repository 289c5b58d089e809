"""The path of a question: cut its context into windows, extract spans, rank them."""

from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from pipelines.engines.model_stage import ModelStage, Outcome
from pipelines.errors import MunjangError
from pipelines.qa.spans import SPAN, Answer, rank
from pipelines.qa.windows import Windows

Request = tuple[str, str]

NO_SPANS = np.empty((0, 1), dtype=SPAN)


class QaPipeline:
    """Takes (question, context) requests and returns one answer or error for each, in order.

    If `null_threshold` is None, the checkpoint's own one applies; if that is None too, the empty answer is given only
    when no span is left.
    """

    def __init__(
        self,
        tokenize: Callable[[Sequence[Request]], Awaitable[Windows]],
        extract: ModelStage,
        *,
        null_threshold: float | None = None,
    ) -> None:
        self._tokenize = tokenize
        self._extract = extract
        self._null_threshold = null_threshold

    async def __call__(self, requests: Sequence[Request]) -> list[Answer | MunjangError]:
        """Answer the requests. A request fails if any of its windows failed, with the error of the first of them."""
        windows = await self._tokenize(requests)
        outcome = await self._extract(windows.tokens) if len(windows.tokens) else Outcome(NO_SPANS)
        own = self._null_threshold
        threshold = own if own is not None else windows.tokens.checkpoint.threshold
        contexts = [context for _, context in requests]
        answers = rank(contexts, windows, outcome.full_rows(NO_SPANS), null_threshold=threshold)
        failed = {windows.request[item].item(): error for item, error in sorted(outcome.errors.items(), reverse=True)}
        return [failed.get(number, answer) for number, answer in enumerate(answers)]
