"""Compare settings of the chat's answers without a language model by their right, wrong and unanswered questions.

    python -m benchmarks.chat_answers                # a baker's documents, not the sample persona
    python -m benchmarks.chat_answers --documents pipelines/chat/persona --questions pipelines/chat/questions.jsonl

A question without a fact has no answer in the documents, so every answer to it is wrong. Other answers are right where
their sentence contains the fact, or is a part of it. Everything runs in this process, with the shipped checkpoints or
others. The extractor reads each sentence that a search finds once, and all settings are compared on its results.
"""

import argparse
import asyncio
import itertools
import math
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipelines.chat.embedding import Embedder
from pipelines.chat.extractive import Sentence, sentences_of, shared_bigrams
from pipelines.chat.recall import Question, read_questions
from pipelines.chat.store.build import build
from pipelines.chat.store.documents import read_documents
from pipelines.chat.store.store import Store
from pipelines.checkpoints.in_process import load_model
from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import in_process, in_process_model
from pipelines.format.manifest import read_manifest
from pipelines.qa.pipeline import QaPipeline
from pipelines.qa.window_tokenizer import WindowTokenizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
COSINE_WEIGHTS = (0.0, 1.0, 2.0, 4.0, 8.0)
MARGIN_WEIGHTS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
SENTENCES = (5, 8)
WRONG_COSTS = 1.0
"""Right answers that a wrong answer outweighs when a threshold is chosen."""


@dataclass(frozen=True)
class Candidate:
    """A sentence found for a question, and the parts of its score."""

    right: bool
    share: float
    cosine: float
    margin: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, default=HERE / "persona")
    parser.add_argument("--questions", type=Path, default=HERE / "persona_questions.jsonl")
    parser.add_argument("--sts", type=Path, default=ROOT / "checkpoints" / "sts")
    parser.add_argument("--qa", type=Path, default=ROOT / "checkpoints" / "qa")
    parser.add_argument("--passages", type=int, default=5)
    arguments = parser.parse_args()
    found = asyncio.run(candidates(arguments))
    answerable = sum(any(one.right for one in sentences) for sentences in found)
    print(f"{len(found)} questions; for {answerable} of them the passages found contain the answer")
    print("| sentences | cosine | margin | threshold | right | wrong | unanswered |\n|---|---|---|---|---|---|---|")
    for sentences, cosine, margin in itertools.product(SENTENCES, COSINE_WEIGHTS, MARGIN_WEIGHTS):
        threshold, counts = best_threshold([answer(one, sentences, cosine, margin) for one in found])
        words = " | ".join(str(counts[name]) for name in ("right", "wrong", "unanswered"))
        print(f"| {sentences} | {cosine:g} | {margin:g} | {threshold:.2f} | {words} |", flush=True)


async def candidates(arguments: argparse.Namespace) -> list[list[Candidate]]:
    """For each question, the sentences of the passages that the search finds."""
    embedder = Embedder.load(arguments.sts)
    manifest = read_manifest(arguments.qa)
    windows = in_process(WindowTokenizer.load(arguments.qa, manifest).windows)
    extract = QaPipeline(
        windows, in_process_model(load_model(arguments.qa, manifest, EngineSettings())), null_threshold=float("inf")
    )
    with tempfile.TemporaryDirectory() as scratch:
        build(read_documents(arguments.documents), Path(scratch) / "store", embedder)
        store = await Store.open(Path(scratch) / "store")
        return [
            await _candidates(question, store, embedder, extract, arguments.passages)
            for question in read_questions(arguments.questions)
        ]


async def _candidates(
    question: Question, store: Store, embedder: Embedder, extract: QaPipeline, passages: int
) -> list[Candidate]:
    [vector] = embedder.embed([question.question], "query")
    found = await store.search(question.question, vector, passages)
    sentences = [sentence for passage in found for sentence in sentences_of(passage)]
    cosines = (embedder.embed([one.text for one in sentences], "document") @ vector).tolist()
    answers = await extract([(question.question, one.text) for one in sentences])
    return [
        Candidate(
            is_right(question, one), shared_bigrams(question.question, one.text), cosine, made.score - made.null_score
        )
        for one, cosine, made in zip(sentences, cosines, answers, strict=True)
    ]


def is_right(question: Question, sentence: Sentence) -> bool:
    """Whether the sentence contains the fact, or is a part of the fact."""
    here = bool(question.fact) and sentence.passage.document == question.document
    return here and (question.fact in sentence.text or sentence.text in question.fact)


def answer(candidates: list[Candidate], sentences: int, cosine: float, margin: float) -> tuple[float, bool]:
    """Score of the sentence that `ExtractiveAnswers` would choose, and whether it is right."""
    likely = sorted(candidates, key=lambda one: -one.share - cosine * one.cosine)[:sentences]
    scored = [(one.share + cosine * one.cosine + margin * one.margin, one.right) for one in likely]
    return max(scored, key=lambda pair: pair[0], default=(-math.inf, False))


def best_threshold(answers: list[tuple[float, bool]]) -> tuple[float, Counter[str]]:
    """The threshold with the most right answers minus the cost of wrong ones, and its counts."""

    def counts(threshold: float) -> Counter[str]:
        return Counter("unanswered" if score < threshold else "right" if right else "wrong" for score, right in answers)

    def worth(threshold: float) -> float:
        return counts(threshold)["right"] - WRONG_COSTS * counts(threshold)["wrong"]

    best = max((score for score, _ in answers), key=worth)
    return best, counts(best)


if __name__ == "__main__":
    main()
