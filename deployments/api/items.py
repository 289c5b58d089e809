"""Lists of items in one request: each is checked, submitted and answered on its own."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from deployments.api.limits import refuse_long
from deployments.api.problems import Fault, pointer, status_of
from deployments.api.schemas import AnyText, Text
from deployments.api.services import SubmitsEach
from pipelines.errors import FieldFault, InvalidInput, MunjangError

MOST_ITEMS = 2048  # of a request, as OpenAI allows for embeddings

P = ParamSpec("P")
Item = TypeVar("Item")
Result = TypeVar("Result")
Place = tuple[int | str, ...]

_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_ANY_TEXT: TypeAdapter[str] = TypeAdapter(AnyText)


class ItemError(BaseModel):
    """Why this item has no result; the others do."""

    status: int = Field(description="The status that a request with this item alone would get.", examples=[422])
    title: str = Field(examples=["Unprocessable Entity"])
    detail: str
    errors: list[Fault] = Field(default_factory=list)


def item_error(error: MunjangError) -> ItemError:
    """Describe the error of one item."""
    status = status_of(error)
    faults = error.faults if isinstance(error, InvalidInput) else ()
    errors = [Fault(pointer=fault.pointer, code=fault.code, detail=fault.detail) for fault in faults]
    return ItemError(status=int(status), title=HTTPStatus(status).phrase, detail=str(error), errors=errors)


def text_of(value: Any, place: Place, max_characters: int, *, blank: bool = False) -> str:
    """Return `value` if it is a text that a model can read; `blank` allows one without a visible character.

    Raises InvalidInput, which points to `place`, and TooLarge.
    """
    try:
        text = (_ANY_TEXT if blank else _TEXT).validate_python(value)
    except ValidationError as error:
        faults = [FieldFault(pointer(place), fault["type"], fault["msg"]) for fault in error.errors()]
        raise InvalidInput(*faults) from None
    refuse_long(pointer(place), text, max_characters)
    return text


def attempt(check: Callable[P, Item], *args: P.args, **kwargs: P.kwargs) -> Item | MunjangError:
    """What `check` returns for the arguments, or the error that it raises."""
    try:
        return check(*args, **kwargs)
    except MunjangError as error:
        return error


async def submit_good(
    lists: SubmitsEach[Item, Result], items: Sequence[Item | MunjangError]
) -> list[Result | MunjangError]:
    """Submit those items that are no errors, and return a result or error for each, in order."""
    good = [item for item in items if not isinstance(item, MunjangError)]
    results = iter(await lists.submit_each(good) if good else [])
    return [item if isinstance(item, MunjangError) else next(results) for item in items]


def good_or_raise(results: Sequence[Result | MunjangError]) -> list[Result]:
    """Return the results. Raises the first error."""
    for result in results:
        if isinstance(result, MunjangError):
            raise result
    return [result for result in results if not isinstance(result, MunjangError)]
