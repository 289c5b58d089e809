"""The routes of text-embeddings-inference (TEI)."""

from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from fastapi import APIRouter, Response
from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from deployments.api.clients.errors import TEI_REFUSALS
from deployments.api.clients.inputs import (
    MOST_ID,
    Inputs,
    NoDimensions,
    NoRawScores,
    PromptName,
    embed,
    json_answer,
    refuse_cut,
)
from deployments.api.deadlines import Deadline
from deployments.api.items import MOST_ITEMS, good_or_raise
from deployments.api.limits import refuse_long
from deployments.api.schemas import VISIBLE, Text, Whole
from deployments.api.services import Services, ServicesOf
from pipelines.errors import WrongKind
from pipelines.format.manifest import Role
from pipelines.sts.data import HIGHEST_SCORE

router = APIRouter(tags=["text-embeddings-inference"], responses=TEI_REFUSALS)

Direction = Literal["Left", "Right"]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MOST_ITEMS)]
Group: TypeAlias = tuple[str, ...]

_TEXT_SCHEMA = {"type": "string", "pattern": VISIBLE}
_GROUP_SCHEMA = {"type": "array", "minItems": 1, "maxItems": 2, "items": _TEXT_SCHEMA}
_BATCH_SCHEMA = {"type": "array", "minItems": 1, "maxItems": MOST_ITEMS, "items": _GROUP_SCHEMA}


class GroupsOfTexts(NamedTuple):
    """Texts and pairs to classify; `batch`: the answer has a list for each."""

    groups: list[Group]
    batch: bool


_GROUPS: TypeAdapter[list[list[str]]] = TypeAdapter(
    Annotated[
        list[Annotated[list[Text], Field(min_length=1, max_length=2)]], Field(min_length=1, max_length=MOST_ITEMS)
    ]
)


def _groups(value: Any) -> GroupsOfTexts:
    """A text, [text] and [text, text] are one group; a list of lists is a batch of groups."""
    batch = isinstance(value, list) and any(isinstance(one, list) for one in value)
    listed = value if batch else [value if isinstance(value, list) else [value]]
    try:
        groups = _GROUPS.validate_python(listed)
    except ValidationError as error:
        fault = error.errors()[0]
        where = "/".join(map(str, fault["loc"]))
        raise PydanticCustomError("not_inputs", f"Input {where}: {fault['msg']}") from None
    return GroupsOfTexts([tuple(group) for group in groups], batch)


Groups = Annotated[
    GroupsOfTexts,
    PlainValidator(_groups),
    WithJsonSchema({"anyOf": [_TEXT_SCHEMA, _GROUP_SCHEMA, _BATCH_SCHEMA]}),
]


OneOrMore = Annotated[
    Texts,
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema(
        {"anyOf": [_TEXT_SCHEMA, {"type": "array", "minItems": 1, "maxItems": MOST_ITEMS, "items": _TEXT_SCHEMA}]}
    ),
]
_ID_SCHEMA = {"type": "integer", "minimum": 0, "maximum": MOST_ID}
_IDS_SCHEMA = {"type": "array", "minItems": 1, "items": _ID_SCHEMA}
OneOrMoreIds = Annotated[
    list[Annotated[list[Annotated[Whole, Field(ge=0, le=MOST_ID)]], Field(min_length=1)]],
    Field(min_length=1, max_length=MOST_ITEMS),
    BeforeValidator(
        lambda value: value if isinstance(value, list) and any(isinstance(o, list) for o in value) else [value]
    ),
    WithJsonSchema(
        {"anyOf": [_IDS_SCHEMA, {"type": "array", "minItems": 1, "maxItems": MOST_ITEMS, "items": _IDS_SCHEMA}]}
    ),
]


class EmbedRequest(BaseModel):
    """Texts or token ids to embed. Embeddings always have length 1, whatever `normalize` says."""

    inputs: Inputs = Field(examples=[["오늘 과제는 코딩 과제입니다."]])
    truncate: bool | None = Field(None, strict=True, description="false: refuse a text that must be cut.")
    truncation_direction: Direction = "Right"
    prompt_name: PromptName = None
    normalize: bool | None = Field(None, strict=True)
    dimensions: NoDimensions = None


class SimilarityInputs(BaseModel):
    """A sentence, and those to compare it with."""

    source_sentence: Text = Field(examples=["오늘 과제는 코딩 과제입니다."])
    sentences: Texts = Field(examples=[["오늘 과제는 논문 리딩 과제입니다."]])


class SimilarityRequest(BaseModel):
    """What to compare."""

    inputs: SimilarityInputs


class PredictRequest(BaseModel):
    """Texts for the classifier, or pairs for a cross-encoder."""

    inputs: Groups = Field(examples=["I are a boy"])
    truncate: bool | None = Field(None, strict=True)
    raw_scores: NoRawScores = False


class Label(BaseModel):
    """A label and its probability."""

    score: float
    label: str


class TokenizeRequest(BaseModel):
    """Texts to tokenize."""

    inputs: OneOrMore = Field(examples=["안녕하세요"])
    add_special_tokens: bool = Field(True, strict=True, description="With the prompt: the whole input of the model.")
    prompt_name: PromptName = None
    model: Literal["sts", "cola", "qa"] = Field("sts", description="Whose tokenizer.")


class DecodeRequest(BaseModel):
    """Token ids, or lists of them."""

    ids: OneOrMoreIds = Field(examples=[[5, 6]])
    skip_special_tokens: bool = Field(True, strict=True)
    model: Literal["sts", "cola", "qa"] = Field("sts", description="Whose tokenizer.")


class ShownToken(BaseModel):
    """A token; `start` and `stop` count the characters of the text."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


@router.post("/embed", response_model=list[list[float]])
async def embed_texts(body: EmbedRequest, services: ServicesOf, _: Response) -> Response:
    """One embedding for each input, in order."""
    async with Deadline(services.settings.ingress.deadline_s):
        found = await embed(services, body.inputs, body.prompt_name or "symmetric")
    truncated = any(one.truncated for one in found)
    refuse_cut(truncated=truncated, truncate=body.truncate, direction=body.truncation_direction)
    return json_answer([one.vector.tolist() for one in found], truncated=truncated)


@router.post("/", include_in_schema=False)
async def embed_at_the_root(body: EmbedRequest, services: ServicesOf, response: Response) -> Response:
    """The same, where Haystack looks for it."""
    return await embed_texts(body, services, response)


@router.post("/similarity", response_model=list[float])
async def compare(body: SimilarityRequest, services: ServicesOf, _: Response) -> Response:
    """The cosine of the source sentence with each of the others."""
    cosines, truncated = await cosines_of(services, body.inputs)
    return json_answer(cosines, truncated=truncated)


async def cosines_of(services: Services, inputs: SimilarityInputs) -> tuple[list[float], bool]:
    """The cosines, and whether a sentence was cut. Raises WrongKind for a cross-encoder."""
    longest = services.settings.sts.max_characters
    for text in (inputs.source_sentence, *inputs.sentences):
        refuse_long("a sentence", text, longest)
    pairs = [(inputs.source_sentence, one) for one in inputs.sentences]
    async with Deadline(services.settings.ingress.deadline_s):
        results = good_or_raise(await services.pair_lists.submit_each(pairs))
    if results[0].kind != "bi-encoder":
        raise WrongKind("the similarity checkpoint is a cross-encoder, whose scores are no cosines; use /score")
    return [one.score for one in results], any(one.truncated for one in results)


@router.post("/predict", response_model=list[Label] | list[list[Label]])
async def predict(body: PredictRequest, services: ServicesOf, _: Response) -> Response:
    """Labels of texts (grammatical acceptability) or of pairs (a cross-encoder's similarity), best first."""
    labels, truncated = await labels_of(services, body.inputs.groups)
    return json_answer(labels if body.inputs.batch else labels[0], truncated=truncated)


async def labels_of(services: Services, groups: list[Group]) -> tuple[list[list[dict[str, Any]]], bool]:
    """The labels of each text or pair, and whether a text was cut. Raises WrongKind for pairs with a bi-encoder."""
    passages = [group[0] for group in groups if len(group) == 1]
    pairs = [(group[0], group[1]) for group in groups if len(group) == 2]
    for text in passages:
        refuse_long("a text", text, services.settings.cola.max_characters)
    for text in (text for pair in pairs for text in pair):
        refuse_long("a text", text, services.settings.sts.max_characters)
    async with Deadline(services.settings.ingress.deadline_s):
        judged = good_or_raise(await services.passage_lists.submit_each(passages)) if passages else []
        compared = good_or_raise(await services.pair_lists.submit_each(pairs)) if pairs else []
    if any(one.kind == "bi-encoder" for one in compared):
        raise WrongKind("the similarity checkpoint is a bi-encoder, which has no labels for pairs; use /similarity")
    texts = iter([acceptability_labels(one.probability) for one in judged])
    scored = iter([[{"score": one.score / HIGHEST_SCORE, "label": "similarity"}] for one in compared])
    truncated = any(one.truncated for one in judged) or any(one.truncated for one in compared)
    return [next(texts) if len(group) == 1 else next(scored) for group in groups], truncated


def acceptability_labels(probability: float) -> list[dict[str, Any]]:
    """The two labels with their probabilities, the more probable one first."""
    labels = [{"score": probability, "label": "acceptable"}, {"score": 1 - probability, "label": "unacceptable"}]
    return sorted(labels, key=lambda one: float(str(one["score"])), reverse=True)


@router.post("/tokenize", response_model=list[list[ShownToken]])
async def tokenize(body: TokenizeRequest, services: ServicesOf, _: Response) -> Response:
    """The tokens of each text, with their places in it."""
    texts = body.inputs
    for text in texts:
        refuse_long("a text", text, services.settings.sts.max_characters)
    role: Role = body.prompt_name or "symmetric"
    async with Deadline(services.settings.ingress.deadline_s):
        found = await services.tokens(body.model, texts, role, whole_input=body.add_special_tokens)
    return json_answer([[token._asdict() for token in tokens] for tokens in found])


@router.post("/decode", response_model=list[str])
async def decode(body: DecodeRequest, services: ServicesOf, _: Response) -> Response:
    """The text of each list of token ids."""
    async with Deadline(services.settings.ingress.deadline_s):
        texts = await services.decode(body.model, body.ids, skip_special_tokens=body.skip_special_tokens)
    return json_answer(texts)


@router.get("/health", response_class=Response)
@router.get("/ping", response_class=Response)
async def health() -> Response:
    """Answers 200 while this process is alive, without a body, as TEI does."""
    return Response()
