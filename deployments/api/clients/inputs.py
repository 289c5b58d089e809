"""The inputs of other servers' routes: a text, token ids, or a list of them."""

from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError, to_json
from starlette.responses import Response

from deployments.api.items import MOST_ITEMS, good_or_raise
from deployments.api.limits import TRUNCATED, refuse_long
from deployments.api.problems import pointer
from deployments.api.schemas import VISIBLE, Text
from deployments.api.services import Services
from pipelines.errors import FieldFault, InvalidInput
from pipelines.format.manifest import Role
from pipelines.format.token_ids import TextOrIds
from pipelines.sts.pipeline import Embedding

MOST_ID = 2**31 - 1

Model = TypeVar("Model", bound=BaseModel)

_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_TEXT_SCHEMA = {"type": "string", "pattern": VISIBLE}
_IDS_SCHEMA = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0, "maximum": MOST_ID}}
_INPUTS_SCHEMA = {
    "anyOf": [
        _TEXT_SCHEMA,
        _IDS_SCHEMA,
        {"type": "array", "minItems": 1, "maxItems": MOST_ITEMS, "items": {"anyOf": [_TEXT_SCHEMA, _IDS_SCHEMA]}},
    ]
}


def _inputs(value: Any) -> list[TextOrIds]:
    if isinstance(value, str) or _are_numbers(value):
        return [_input(value, 0)]
    if not isinstance(value, list):
        raise PydanticCustomError("not_inputs", "Must be a text, token ids, or a list of them")
    if not 1 <= len(value) <= MOST_ITEMS:
        raise PydanticCustomError("number_of_inputs", f"Must have from 1 to {MOST_ITEMS:,} inputs")
    return [_input(one, number) for number, one in enumerate(value)]


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, int | float) for one in value)


def _input(value: Any, number: int) -> TextOrIds:
    if isinstance(value, str):
        try:
            return _TEXT.validate_python(value)
        except ValidationError as error:
            fault = error.errors()[0]
            raise PydanticCustomError("bad_input", f"Input {number}: {fault['msg']}") from None
    if not _are_numbers(value) or not all(_is_id(one) for one in value):
        raise PydanticCustomError("bad_input", f"Input {number}: must be a text or a list of token ids")
    return tuple(int(one) for one in value)


def _is_id(number: Any) -> bool:
    return not isinstance(number, bool) and number == int(number) and 0 <= number <= MOST_ID


def _absent(value: Any) -> Any:
    if value is not None:
        raise PydanticCustomError("no_other_dimensions", "The checkpoint declares no other dimensions than its own")
    return value


def _not_raw(value: Any) -> Any:
    if value is not None and value is not False:
        raise PydanticCustomError("no_raw_scores", "Must be false: the classifier keeps no logits")
    return value


Inputs = Annotated[list[TextOrIds], BeforeValidator(_inputs), WithJsonSchema(_INPUTS_SCHEMA)]
"""One or several inputs, as a list."""
NoDimensions = Annotated[None, BeforeValidator(_absent), WithJsonSchema({"type": "null"})]
"""Embeddings are not cut: no served checkpoint says that it was trained for that (Matryoshka)."""


NoRawScores = Annotated[
    bool | None,
    PlainValidator(_not_raw),
    WithJsonSchema({"anyOf": [{"type": "boolean", "const": False}, {"type": "null"}]}),
]
"""The classifier keeps no logits."""
PromptName: TypeAlias = Role | None
"""The prompt of the checkpoint that is put before each text."""


async def embed(services: Services, inputs: list[TextOrIds], role: Role = "symmetric") -> list[Embedding]:
    """The embeddings of all inputs. Raises the first error, and TooLarge for a text over its limit."""
    for one in inputs:
        if isinstance(one, str):
            refuse_long("an input", one, services.settings.sts.max_characters)
    return good_or_raise(await services.embeddings.submit_each([(one, role) for one in inputs]))


def refuse_cut(*, truncated: bool, truncate: bool | None, direction: str = "Right") -> None:
    """Raise InvalidInput if a text was cut although the caller forbids it, or at another end than the caller wants."""
    if truncated and truncate is False:
        raise InvalidInput(FieldFault("/inputs", "too_many_tokens", "a text has more tokens than the model reads"))
    if truncated and direction == "Left":
        detail = "a text has more tokens than the model reads, and this server cuts texts at their end only"
        raise InvalidInput(FieldFault("/truncation_direction", "not_served", detail))


def validated(model: type[Model], parsed: Any) -> Model:
    """A parsed body as a model. Raises InvalidInput."""
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        faults = [FieldFault(pointer(fault["loc"]), fault["type"], fault["msg"]) for fault in error.errors()]
        raise InvalidInput(*faults) from None


def described(*models: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI description of a body that is one of these models."""
    schemas = [model.model_json_schema() for model in models]
    any_of = [_without_references(schema, schema.pop("$defs", {})) for schema in schemas]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": {"anyOf": any_of}}}}}


def _without_references(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema with the definitions in place of the references to them, which would lead nowhere in OpenAPI."""
    if isinstance(schema, list):
        return [_without_references(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    whole = {key: value for key, value in schema.items() if key != "$ref"} | definitions.get(name, {})
    return {key: _without_references(value, definitions) for key, value in whole.items()}


def json_answer(content: Any, *, truncated: bool = False, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON. Numbers of numpy must have become Python's."""
    more = {TRUNCATED: "true"} if truncated else {}
    return Response(to_json(content), media_type="application/json", headers={**(headers or {}), **more})
