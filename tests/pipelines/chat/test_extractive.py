import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipelines.chat.extractive import Embed, ExtractiveAnswers, sentences_of, shared_bigrams
from pipelines.chat.request import ChatRequest, Citation, Grounds, Reply
from pipelines.chat.store.passage import Passage
from pipelines.errors import EngineError
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Embedding

ASKED = ChatRequest("언제 태어났어?", "vector_store/", SecretStr("sk"))
UNKNOWN = "잘 모르겠어요."
FAMILY = "# 가족\n\n- 한결은 1994년 3월에 태어났다. 3.5킬로그램이었다! \n- 형제는 없다."
HOBBY = "주말마다 산에 오른다. 비가 오면 쉰다."


def passage(document: str, start: int, text: str) -> Passage:
    return Passage(document, start, start + len(text), text, 0.5, 0.4, None)


GROUNDS = Grounds("vector_store", (passage("family.md", 100, FAMILY), passage("hobby.md", 7, HOBBY)))


async def no_embeddings(sentences: Sequence[str]) -> list[Embedding | None]:
    return [None] * len(sentences)


def unit(angle: float, checkpoint: str = "sts") -> Embedding:
    return Embedding(np.array([math.cos(angle), math.sin(angle)], dtype=np.float32), checkpoint)


def answers(margins: dict[str, float], embed: Embed = no_embeddings, **settings: float) -> ExtractiveAnswers:
    """Answers of an extractor whose spans have these margins over the null score, by sentence; -10 in others."""

    async def extract(requests: Sequence[tuple[str, str]]) -> list[Answer]:
        assert all(question == ASKED.prompt for question, _ in requests)
        return [Answer(text[:2], 0, 2, 3 + margins.get(text, -10), 3, 1, "digest") for _, text in requests]

    defaults = {"sentences": 9, "cosine_weight": 1.0, "margin_weight": 0.1, "threshold": 0.0}
    return ExtractiveAnswers(extract, embed, **{**defaults, **settings}, unknown=UNKNOWN)  # type: ignore[arg-type]


def reply(margins: dict[str, float], **settings: float) -> Reply:
    return asyncio.run(answers(margins, **settings).reply(ASKED, GROUNDS))


def test_the_answer_is_the_sentence_with_the_largest_margin_and_its_citation_is_exact() -> None:
    found = reply({"형제는 없다.": 9.0, "비가 오면 쉰다.": 8.0})
    start = 100 + FAMILY.index("형제")
    assert found.output == "형제는 없다."
    assert found.citations == (Citation("vector_store", "family.md", start, start + 7, 0.5, 0.4, None),)


def test_the_margin_weight_decides_between_shared_words_and_margin() -> None:
    margins = {"형제는 없다.": 2.0, "한결은 1994년 3월에 태어났다.": -1.0}
    assert reply(margins, margin_weight=0.1).output == "한결은 1994년 3월에 태어났다."
    assert reply(margins, margin_weight=1.0).output == "형제는 없다."


@pytest.mark.parametrize(("sentences", "output"), [(1, "한결은 1994년 3월에 태어났다."), (9, "형제는 없다.")])
def test_the_extractor_reads_only_the_sentences_that_share_most_bigrams(sentences: int, output: str) -> None:
    assert reply({"형제는 없다.": 99.0}, sentences=sentences, threshold=-99).output == output


@pytest.mark.parametrize(("weight", "output"), [(0.0, "한결은 1994년 3월에 태어났다."), (2.0, "비가 오면 쉰다.")])
def test_the_cosine_weight_decides_between_shared_words_and_cosine(weight: float, output: str) -> None:
    async def embed(sentences: Sequence[str]) -> list[Embedding | None]:
        assert weight
        return [unit(0.1 if text == "비가 오면 쉰다." else math.pi / 2) for text in sentences]

    near = answers(
        dict.fromkeys((output, "한결은 1994년 3월에 태어났다."), 0.0), embed, cosine_weight=weight, sentences=1
    )
    grounds = Grounds(GROUNDS.store, GROUNDS.passages, unit(0.0))
    assert asyncio.run(near.reply(ASKED, grounds)).output == output


@pytest.mark.parametrize("question", [None, unit(0.0, "newer")])
def test_without_a_question_embedding_of_the_same_checkpoint_only_words_count(question: Embedding | None) -> None:
    async def embed(sentences: Sequence[str]) -> list[Embedding | None]:
        return [unit(0.0) for _ in sentences]

    far = answers({}, embed, cosine_weight=9.0, threshold=-9)
    grounds = Grounds(GROUNDS.store, GROUNDS.passages, question)
    assert asyncio.run(far.reply(ASKED, grounds)).output == "한결은 1994년 3월에 태어났다."


def test_below_the_threshold_the_answer_is_unknown() -> None:
    assert reply({"형제는 없다.": 5.0}, threshold=0.5).output == "형제는 없다."
    assert reply({"형제는 없다.": 5.0}, threshold=0.51) == Reply(UNKNOWN, ())


def test_a_sentence_without_a_span_is_not_an_answer() -> None:
    async def extract(requests: Sequence[tuple[str, str]]) -> list[Answer]:
        return [Answer("", 0, 0, 0.0, 0.0, 0, "digest") for _ in requests]

    without_spans = ExtractiveAnswers(
        extract, no_embeddings, sentences=9, cosine_weight=1, margin_weight=1, threshold=-1e9, unknown=UNKNOWN
    )
    assert asyncio.run(without_spans.reply(ASKED, GROUNDS)) == Reply(UNKNOWN, ())


@pytest.mark.parametrize("passages", [(), (passage("a.md", 0, "# 제목"),)])
def test_without_sentences_the_answer_is_unknown(passages: tuple[Passage, ...]) -> None:
    found = asyncio.run(answers({}, threshold=-1e9).reply(ASKED, Grounds("s", passages)))
    assert found == Reply(UNKNOWN, ())


def test_a_stream_yields_the_answer_in_one_piece_and_then_the_whole_reply() -> None:
    async def collect() -> list[str | Reply]:
        return [piece async for piece in answers({"형제는 없다.": 9.0}).stream(ASKED, GROUNDS)]

    whole = reply({"형제는 없다.": 9.0})
    assert asyncio.run(collect()) == [whole.output, whole]


def test_errors_of_the_extractor_reach_the_caller() -> None:
    async def extract(requests: Sequence[tuple[str, str]]) -> list[Answer]:
        raise EngineError("RuntimeError")

    failing = ExtractiveAnswers(
        extract, no_embeddings, sentences=9, cosine_weight=1, margin_weight=1, threshold=0, unknown=UNKNOWN
    )
    with pytest.raises(EngineError):
        asyncio.run(failing.reply(ASKED, GROUNDS))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (FAMILY, ["한결은 1994년 3월에 태어났다.", "3.5킬로그램이었다!", "형제는 없다."]),
        ("1) 첫째다.\n> 2) 둘째다", ["첫째다.", "둘째다"]),
        ("### 제목\n-5도였다.\n*별*이 떴다.", ["-5도였다.", "*별*이 떴다."]),
        ("#해시태그 글이다.", ["#해시태그 글이다."]),
        ("점이 없는 글", ["점이 없는 글"]),
        ("- ", []),
        ("", []),
    ],
)
def test_sentences_are_complete_and_without_markup(text: str, sentences: list[str]) -> None:
    assert [sentence.text for sentence in sentences_of(passage("a.md", 0, text))] == sentences


@given(st.text(alphabet="가 나.!?\n#-1)\"'”a\t"))
def test_sentences_are_in_order_and_do_not_overlap_and_none_is_empty(text: str) -> None:
    bounds = [place for one in sentences_of(passage("a.md", 0, text)) for place in (one.start, one.end)]
    assert bounds == sorted(bounds)
    assert all(sentence.text.strip() for sentence in sentences_of(passage("a.md", 0, text)))


@pytest.mark.parametrize(
    ("question", "sentence", "share"),
    [
        ("가나다", "가나다라", 1.0),
        ("가나다", "나다", 0.5),
        ("가나 가나", "가나", 1.0),
        ("AB", "ab", 1.0),
        ("가 나", "가 나", 0.0),
        ("한글", "한글", 1.0),
        ("", "가나", 0.0),
        ("가", "가", 0.0),
    ],
)
def test_the_share_of_the_questions_bigrams_in_a_sentence(question: str, sentence: str, share: float) -> None:
    assert shared_bigrams(question, sentence) == share


@given(st.text(), st.text())
def test_the_share_is_between_zero_and_one(question: str, sentence: str) -> None:
    assert 0 <= shared_bigrams(question, sentence) <= 1
