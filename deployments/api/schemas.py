"""Bodies of requests and answers: the keys of the original services, exactly. Unknown keys are ignored."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, SecretStr
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from pipelines.text.normalization import is_unicode

UNSEEN = {"Cc", "Cf"}  # controls, and formats such as zero-width joiners
PRINTABLE = re.compile(r"[!-~]+")


def _readable(text: str) -> str:
    """What tokenizers take whole."""
    if "\x00" in text:  # which they drop
        raise PydanticCustomError("nul", "Text must not hold U+0000")
    if not is_unicode(text):
        raise PydanticCustomError("not_unicode", "Text must not hold half of a surrogate pair")
    return text


def _with_content(text: str) -> str:
    # A file has tens of thousands of texts, and hardly one needs the second look.
    if not text[:1].isalnum() and not any(map(_is_seen, text)):
        raise PydanticCustomError("blank", "Text must hold more than white space and what has no width")
    return _readable(text)


def _is_seen(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) not in UNSEEN


def _printable_ascii(key: SecretStr) -> SecretStr:
    if not PRINTABLE.fullmatch(key.get_secret_value()):
        raise PydanticCustomError("not_a_key", "A key is of printable ASCII characters, without blanks")
    return key


AnyText = Annotated[str, AfterValidator(_readable)]
Text = Annotated[str, AfterValidator(_with_content)]


class Sentences(BaseModel):
    """A pair of sentences."""

    sentence_1: Text = Field(examples=["오늘 과제는 코딩 과제입니다."])
    sentence_2: Text = Field(examples=["오늘 과제는 논문 리딩 과제입니다."])


class SentencesScore(Sentences):
    """How alike they are."""

    model_config = ConfigDict(populate_by_name=True)

    sentence_1: str
    sentence_2: str
    score: float = Field(description="Cosine in [-1, 1]; in [0, 5] from a cross-encoder.")
    pred: int = Field(description="1 from the threshold on, else 0.")
    runtime_s: float = Field(alias="runtime(sec)")


class FilePair(TypedDict):
    """A pair of a file; `idx` is the client's own. No model: a file has tens of thousands."""

    sentence1: Text
    sentence2: Text


class PairsFile(BaseModel):
    """The content of an uploaded file."""

    # The first row at fault stops the reading: a file of a million of them would make a million reports.
    results: Annotated[list[FilePair], FailFast()] = Field(min_length=1)


class FileScores(BaseModel):
    """Scores of a file's pairs, in its order."""

    model_config = ConfigDict(populate_by_name=True)

    sentences: list[tuple[str, str]]
    preds: list[int]
    scores: list[float]
    runtime_s: float = Field(alias="runtime(sec)")


class Passage(BaseModel):
    """An English sentence."""

    passage: Text = Field(examples=["I are a boy"])


class PassageProbability(BaseModel):
    """How acceptable it is."""

    prob: float = Field(description="Probability that the passage is grammatically acceptable.")


class Question(BaseModel):
    """A question and the text to look for its answer in; where either is empty, the answer is."""

    question: AnyText = Field(examples=["도서관은 몇 시에 문을 여나요?"])
    context: AnyText = Field(examples=["시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다."])


class QuestionAnswer(Question):
    """The answer is a piece of the context, or empty."""

    answer: str


# What a header can hold, and no blank: it goes into one.
ApiKey = Annotated[SecretStr, Field(min_length=1, max_length=512), AfterValidator(_printable_ascii)]


class Chat(BaseModel):
    """A question to the documents of a store."""

    prompt: Text = Field(examples=["고향이 어디예요?"])
    api_key: ApiKey = Field(description="The caller's at the language-model provider.", examples=["sk-..."])
    db_path: str = Field(max_length=1024, description="A store's name.", examples=["vector_store/"])


class ChatOutput(BaseModel):
    """The answer."""

    output: str


class ChatCitation(BaseModel):
    """Where an answer stands, and how well that matched the question."""

    store: str
    document: str
    start: int = Field(description="In the document, in Unicode code points.")
    end: int = Field(description="The same, exclusive.")
    score: float = Field(description="What the ranking is by.")
    similarity: float | None = Field(description="Cosine in [-1, 1]; null: not among the nearest by meaning.")
    lexical: float | None = Field(description="BM25; null: not found by words.")


class ChatAnswer(ChatOutput):
    """The answer, and what it stands on, best first."""

    citations: list[ChatCitation]
