"""The quality of answers without a language model, with the shipped checkpoints and the sample persona."""

from collections import Counter
from pathlib import Path

import pytest
from pydantic import SecretStr

from deployments.settings import ChatSettings
from pipelines.chat.embedding import Embedder
from pipelines.chat.extractive import ExtractiveAnswers
from pipelines.chat.pipeline import ChatPipeline
from pipelines.chat.recall import Question, read_questions
from pipelines.chat.request import ChatRequest, Reply
from pipelines.chat.sample import PERSONA, QUESTIONS, SAMPLE_STORE
from pipelines.chat.store.build import build
from pipelines.chat.store.documents import read_documents
from pipelines.chat.store.stores import Stores
from tests.pipelines.chat.shipped import CHECKPOINTS, Shipped

pytestmark = pytest.mark.slow

SETTINGS = ChatSettings()
OFF_TOPIC = [
    "대한민국의 수도는 어디야?",
    "양자역학이 뭐야?",
    "이순신 장군은 언제 죽었어?",
    "미국 대통령이 누구야?",
    "광합성은 어디에서 일어나?",
    "피타고라스 정리가 뭐야?",
    "월드컵 우승국은?",
    "what is the capital of France?",
]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatPipeline:
    root, shipped = tmp_path_factory.mktemp("stores"), Shipped()
    build(read_documents(PERSONA), root / SAMPLE_STORE, Embedder.load(CHECKPOINTS / "sts"))
    answers = ExtractiveAnswers(
        shipped.extract,  # type: ignore[arg-type]
        shipped.embed_sentences,  # type: ignore[arg-type]
        sentences=SETTINGS.sentences,
        cosine_weight=SETTINGS.cosine_weight,
        margin_weight=SETTINGS.margin_weight,
        threshold=SETTINGS.threshold,
        unknown=SETTINGS.unknown,
    )
    return ChatPipeline(Stores(Path(root), 1, SETTINGS.open_bytes), shipped.embed, answers, passages=SETTINGS.passages)


async def ask(chat: ChatPipeline, prompt: str) -> Reply:
    return await chat(ChatRequest(prompt, SAMPLE_STORE, SecretStr("unused")))


def judged(question: Question, reply: Reply) -> str:
    """An answer is right where its sentence contains the fact, or is a part of the fact."""
    if not reply.citations:
        return "unknown"
    here = reply.citations[0].document == question.document
    return "right" if here and (question.fact in reply.output or reply.output in question.fact) else "wrong"


@pytest.mark.anyio
async def test_answers_are_about_as_often_right_and_less_often_wrong_than_by_shared_bigrams_alone(
    chat: ChatPipeline,
) -> None:
    questions = read_questions(QUESTIONS)
    counts = Counter([judged(one, await ask(chat, one.question)) for one in questions])
    assert counts["right"] >= 20  # measured: 22 right, 11 wrong, 7 unknown; by bigrams alone 16, 21, 3
    assert counts["wrong"] <= 13


@pytest.mark.anyio
async def test_most_questions_about_other_topics_are_not_answered(chat: ChatPipeline) -> None:
    replies = [await ask(chat, prompt) for prompt in OFF_TOPIC]
    assert sum(reply == Reply(SETTINGS.unknown, ()) for reply in replies) > len(OFF_TOPIC) / 2
