"""The answer without a language model: the sentence of a document that holds the best answer span."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from pipelines.chat.chunks import Span, sentence_spans
from pipelines.chat.passage import Passage
from pipelines.chat.request import ChatRequest, Citation, Grounds, Reply
from pipelines.qa.spans import Answer

MARKUP = re.compile(r"(?:(?:[-*+>]|#{1,6}|\d+[.)])\s+)*")  # of a list, a quotation or a heading in Markdown

Extract = Callable[[Sequence[tuple[str, str]]], Awaitable[Sequence[Answer]]]


class ExtractiveAnswers:
    """One sentence, as it stands in its document and cited exactly, so that `document[start:end] == output`.

    extract    takes (question, context) pairs, returns the best span of each, in order, and its null span's score
    threshold  of best score - null score, in raw logits; where all passages are below it, the answer is `unknown`

    A passage's own null score makes its spans compare with those of other passages.
    """

    def __init__(self, extract: Extract, *, threshold: float, unknown: str) -> None:
        self._extract = extract
        self._threshold = threshold
        self._unknown = unknown

    async def reply(self, request: ChatRequest, grounds: Grounds) -> Reply:
        """The whole answer. Raises what `extract` raises."""
        answers = await self._extract([(request.prompt, passage.text) for passage in grounds.passages])
        found = [pair for pair in zip(answers, grounds.passages, strict=True) if pair[0].text]
        answer, passage = max(found, key=_margin, default=(None, None))
        if answer is None or passage is None or _margin((answer, passage)) < self._threshold:
            return Reply(self._unknown, ())
        start, end = sentence_around(passage.text, answer.start, answer.end)
        return Reply(passage.text[start:end], (Citation.of(grounds.store, passage, start, end),))

    async def stream(self, request: ChatRequest, grounds: Grounds) -> AsyncGenerator[str | Reply]:
        """The same in one piece, then whole."""
        reply = await self.reply(request, grounds)
        yield reply.output
        yield reply


def _margin(found: tuple[Answer, Passage]) -> float:
    return found[0].score - found[0].null_score


def sentence_around(text: str, start: int, end: int) -> Span:
    """The bounds of the sentences that `[start, end)` lies in, without the markup before them; they hold it whole.

    Half-open, in code points of the text.
    """
    touched = [span for span in sentence_spans(text) if span[0] < end and start < span[1]]
    first = min([start, *(low for low, _ in touched)])
    last = max([end, *(high for _, high in touched)])
    markup = MARKUP.match(text, first, start)
    return (markup.end() if markup else first), last
