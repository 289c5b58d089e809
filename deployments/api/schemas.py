"""Bodies of requests and answers, with exactly the keys of the original services. Unknown keys are ignored."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field, SecretStr
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from pipelines.text.normalization import is_unicode
from pipelines.text.visible import HAS_VISIBLE, INVISIBLE

VISIBLE = rf"^[^\u0000]*[^{INVISIBLE}][^\u0000]*$"
NO_NUL = r"^[^\u0000]*$"
PRINTABLE = re.compile(r"[!-~]+")


def _tokenizable(text: str) -> str:
    """Refuse text that tokenizers do not read completely."""
    if "\x00" in text:  # tokenizers drop it
        raise PydanticCustomError("nul", "Text must not contain U+0000")
    if not is_unicode(text):
        raise PydanticCustomError("not_unicode", "Text must not contain half of a surrogate pair")
    return text


def _with_content(text: str) -> str:
    if not HAS_VISIBLE.search(text):
        raise PydanticCustomError("blank", "Text must contain a visible character")
    return _tokenizable(text)


def _printable_ascii(key: SecretStr) -> SecretStr:
    if not PRINTABLE.fullmatch(key.get_secret_value()):
        raise PydanticCustomError("not_a_key", "An API key must have only printable ASCII characters and no spaces")
    return key


# The patterns are for the OpenAPI document; the validators say more precisely what is wrong.
AnyText = Annotated[str, AfterValidator(_tokenizable), Field(json_schema_extra={"pattern": NO_NUL})]
Text = Annotated[str, AfterValidator(_with_content), Field(json_schema_extra={"pattern": VISIBLE})]


def _whole(number: Any) -> Any:
    """In JSON Schema 5.0 is an integer, too."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


Whole = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
"""An integer, and neither a text nor a truth value."""
AtLeastOne = Annotated[int, Field(strict=True, ge=1), BeforeValidator(_whole)]


class Sentences(BaseModel):
    """A pair of sentences."""

    sentence_1: Text = Field(examples=["오늘 과제는 코딩 과제입니다."])
    sentence_2: Text = Field(examples=["오늘 과제는 논문 리딩 과제입니다."])


class SentencesScore(Sentences):
    """How similar the two sentences are."""

    model_config = ConfigDict(populate_by_name=True)

    sentence_1: str
    sentence_2: str
    score: float = Field(description="Cosine in [-1, 1]; a score in [0, 5] if the checkpoint is a cross-encoder.")
    pred: int = Field(description="1 if the score is at least the threshold, else 0.")
    runtime_s: float = Field(alias="runtime(sec)")


class FilePair(TypedDict):
    """A pair of a file. Its `idx` is ignored. It is a dictionary for speed: a file has tens of thousands of pairs."""

    sentence1: Text
    sentence2: Text


class PairsFile(BaseModel):
    """The content of an uploaded file."""

    # Validation stops at the first invalid row. Otherwise a file of a million invalid rows would give a million errors.
    results: Annotated[list[FilePair], FailFast()] = Field(min_length=1)


class FileScores(BaseModel):
    """Scores of a file's pairs, in the order of the file."""

    model_config = ConfigDict(populate_by_name=True)

    sentences: list[tuple[str, str]]
    preds: list[int]
    scores: list[float]
    runtime_s: float = Field(alias="runtime(sec)")


class Passage(BaseModel):
    """An English sentence."""

    passage: Text = Field(examples=["I are a boy"])


class PassageProbability(BaseModel):
    """How acceptable the passage is."""

    prob: float = Field(description="Probability that the passage is grammatically acceptable.")


class Question(BaseModel):
    """A question, and the text to search for its answer. If either is empty, the answer is empty."""

    question: AnyText = Field(examples=["도서관은 몇 시에 문을 여나요?"])
    context: AnyText = Field(examples=["시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다."])


class QuestionAnswer(Question):
    """The answer is a piece of the context, or empty."""

    answer: str


# The key is sent in an HTTP header, so it must have only characters that are allowed there, and no space.
ApiKey = Annotated[
    SecretStr,
    Field(min_length=1, max_length=512, json_schema_extra={"pattern": f"^{PRINTABLE.pattern}$"}),
    AfterValidator(_printable_ascii),
]


class Chat(BaseModel):
    """A question about the documents of a store."""

    prompt: Text = Field(examples=["고향이 어디예요?"])
    api_key: ApiKey = Field(description="The caller's key for the language-model provider.", examples=["sk-..."])
    db_path: str = Field(max_length=1024, description="The name of a store.", examples=["vector_store/"])


class ChatAndPassages(Chat):
    """The same, with a word on the answer's form."""

    passages: bool = Field(
        False, strict=True, description="Whether each citation has the passage of the document around it."
    )


class ChatOutput(BaseModel):
    """The answer."""

    output: str


class ChatPassage(BaseModel):
    """A piece of a document."""

    start: int = Field(description="Start in the document, in Unicode code points.")
    end: int = Field(description="End in the document, exclusive, in Unicode code points.")
    text: str


class ChatCitation(BaseModel):
    """The place of an answer in a document, and how well it matches the question."""

    store: str
    document: str
    start: int = Field(description="Start in the document, in Unicode code points.")
    end: int = Field(description="End in the document, exclusive, in Unicode code points.")
    score: float = Field(description="The citations are ranked by this score.")
    similarity: float | None = Field(description="Cosine in [-1, 1]; null: not found by embedding.")
    lexical: float | None = Field(description="BM25 score; null: not found by words.")
    passage: ChatPassage | None = Field(None, description="The passage around it, if the request asks for it.")


class ChatAnswer(ChatOutput):
    """The answer, and the citations that support it, best first."""

    citations: list[ChatCitation]
