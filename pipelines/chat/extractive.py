"""Answers without a language model: the best sentence of the passages found, exactly as its document has it."""

import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipelines.chat.request import ChatRequest, Citation, Grounds, Reply
from pipelines.chat.store.chunks import sentence_spans
from pipelines.chat.store.passage import Passage
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Embedding
from pipelines.text.normalization import nfc

HEADING = re.compile(r"#{1,6}\s")
MARKUP = re.compile(r"(?:(?:[-*+>]|\d+\))(?:\s+|$))*")  # before list entries and quotations in Markdown

Extract = Callable[[Sequence[tuple[str, str]]], Awaitable[Sequence[Answer]]]
Embed = Callable[[Sequence[str]], Awaitable[Sequence[Embedding | None]]]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence: `[start, end)` of a passage's text, in code points."""

    passage: Passage
    start: int
    end: int

    @property
    def text(self) -> str:
        """The characters of the sentence."""
        return self.passage.text[self.start : self.end]


class ExtractiveAnswers:
    """Answers that are one whole sentence of a document, or `unknown` without a citation.

    The citation is exact: `document[start:end] == output`. The score of a sentence is a sum of three parts: the share
    of the question's bigrams that it contains, in [0, 1]; its cosine with the question; and the extractor's confidence
    that it contains the answer. The extractor reads only the sentences for which the first two parts are largest.

    extract        takes (question, sentence) pairs; returns the best span and the null span's score of each, in order
    embed          takes sentences; returns the embedding of each, in order, or None where the checkpoint has none
    sentences      number of sentences that the extractor reads
    cosine_weight  weight of the cosine
    margin_weight  weight of best score - null score, in raw logits; a better extractor deserves a larger weight
    threshold      least score of an answer; where no sentence reaches it, the answer is `unknown`

    The extractor reads each sentence on its own. In a whole passage a small extractor points to the same sentence for
    most questions, and the right one is never compared (benchmarks/LOG.md).
    """

    def __init__(
        self,
        extract: Extract,
        embed: Embed,
        *,
        sentences: int,
        cosine_weight: float,
        margin_weight: float,
        threshold: float,
        unknown: str,
    ) -> None:
        self._extract = extract
        self._embed = embed
        self._sentences = sentences
        self._cosine_weight = cosine_weight
        self._margin_weight = margin_weight
        self._threshold = threshold
        self._unknown = unknown

    async def reply(self, request: ChatRequest, grounds: Grounds) -> Reply:
        """Return the whole answer. Raises what `extract` and `embed` raise."""
        found = [sentence for passage in grounds.passages for sentence in sentences_of(passage)]
        likeness = await self._likeness(request.prompt, grounds.question, found)
        likely = sorted(likeness, key=likeness.__getitem__, reverse=True)[: self._sentences]
        answers = await self._extract([(request.prompt, sentence.text) for sentence in likely])
        scores = [likeness[likely[i]] + self._margin(answer) for i, answer in enumerate(answers)]
        if max(scores, default=-math.inf) < self._threshold:
            return Reply(self._unknown, ())
        best = likely[scores.index(max(scores))]
        citation = Citation.of(grounds.store, best.passage, best.start, best.end)
        return Reply(best.text, (citation,), (best.passage,))

    async def stream(self, request: ChatRequest, grounds: Grounds) -> AsyncGenerator[str | Reply]:
        """Yield the answer in one piece, then the whole reply. Raises the same."""
        reply = await self.reply(request, grounds)
        yield reply.output
        yield reply

    async def _likeness(
        self, prompt: str, question: Embedding | None, sentences: Sequence[Sentence]
    ) -> dict[Sentence, float]:
        """The share of bigrams plus the weighted cosine, by sentence."""
        shares = {sentence: shared_bigrams(prompt, sentence.text) for sentence in sentences}
        if question is None or not self._cosine_weight:
            return shares
        embeddings = await self._embed([sentence.text for sentence in shares])
        cosines = zip(shares, (_cosine(question, embedding) for embedding in embeddings), strict=True)
        return {sentence: shares[sentence] + self._cosine_weight * cosine for sentence, cosine in cosines}

    def _margin(self, answer: Answer) -> float:
        return self._margin_weight * (answer.score - answer.null_score) if answer.text else -math.inf


def _cosine(question: Embedding, sentence: Embedding | None) -> float:
    """The cosine; 0 where the two come from different checkpoints, as during an update of the checkpoint."""
    if sentence is None or sentence.checkpoint != question.checkpoint:
        return 0.0
    return float(question.vector @ sentence.vector)


def sentences_of(passage: Passage) -> Iterator[Sentence]:
    """The sentences of a passage, without headings and without the markup before list entries and quotations."""
    for start, end in sentence_spans(passage.text):
        markup = MARKUP.match(passage.text, start, end)
        start = markup.end() if markup else start
        if start < end and not HEADING.match(passage.text, start):
            yield Sentence(passage, start, end)


def shared_bigrams(question: str, sentence: str) -> float:
    """The share, in [0, 1], of the question's distinct pairs of neighbouring characters that the sentence contains."""
    asked = _bigrams(question)
    return len(asked & _bigrams(sentence)) / max(len(asked), 1)


def _bigrams(text: str) -> set[tuple[str, str]]:
    return {pair for word in nfc(text).casefold().split() for pair in pairwise(word)}
