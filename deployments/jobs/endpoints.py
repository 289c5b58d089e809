"""Answer the rows of a job with the functions of the routes: a row gets the answer that its request would get."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from fastapi import Response
from pydantic import TypeAdapter, ValidationError

from deployments.api.catalogue import Catalogue
from deployments.api.clients.errors import error_body
from deployments.api.direct import DirectRoute
from deployments.api.limits import refuse_long
from deployments.api.problems import pointer, status_of
from deployments.api.schemas import FilePair
from deployments.api.services import Input, Services, Submits, SubmitsEach
from deployments.calls.without_messages import log_failure
from deployments.jobs.records import Job, Part, Source
from deployments.jobs.rows import RowLimits, format_of, request_of, scan_pairs, scan_requests
from deployments.jobs.storage import Storage
from deployments.settings import Settings
from pipelines.bulk.records import Record
from pipelines.cola.pipeline import Acceptability
from pipelines.errors import FieldFault, InvalidInput, MalformedInput, MunjangError, StageFailed, UnavailableError
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Embedding, Similarity

PAIRS_FILE = "/pred/file/"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0

_PAIR = TypeAdapter(FilePair)


@dataclass
class BulkServices:
    """What the routes of the models need, with calls of bulk priority."""

    settings: Settings
    sts: Submits[tuple[str, str], Similarity]
    sts_files: Submits[tuple[str, str], Similarity]
    cola: Submits[str, Acceptability]
    qa: Submits[tuple[str, str], Answer]
    embeddings: SubmitsEach[Input, Embedding]
    catalogue: Catalogue


@dataclass(frozen=True, slots=True)
class Answered:
    """A line of the file of answers or of the file of errors."""

    line: bytes
    succeeded: bool


class Endpoint(Protocol):
    """How the file of a job is read, and its rows are answered."""

    def scan(self, storage: Storage, name: str, limits: RowLimits) -> tuple[Source, list[Part]]:
        """Check a file and cut it into parts. Raises JobRefused."""

    async def answer(self, job: Job, row: int, line: int, record: Record) -> Answered:
        """The answer to a row. It raises no error of the row: errors are answers, too."""

    def unanswered(self, job: Job, row: int, line: int, record: Record, code: str, why: str) -> Answered:
        """The line of errors for a row that was not answered."""


class Requests:
    """Lines with a `custom_id` and the body of a request to one route, in OpenAI's format."""

    def __init__(self, path: str, route: DirectRoute, services: BulkServices) -> None:
        self._path, self._route = path, route
        self._services = cast(Services, services)  # the routes of the models use only this part of it
        self._patience_s = services.settings.jobs.patience_s

    def scan(self, storage: Storage, name: str, limits: RowLimits) -> tuple[Source, list[Part]]:
        """See `Endpoint.scan`."""
        return scan_requests(storage, name, self._path, limits)

    async def answer(self, job: Job, row: int, line: int, record: Record) -> Answered:
        """See `Endpoint.answer`."""
        request = request_of(record, self._path, line)
        request_id = f"{_row_id(job, row)}-request"
        try:
            body = await patiently(lambda: self._call(request["body"]), self._patience_s)
            status = 200
        except MunjangError as error:
            faults = error.faults if isinstance(error, InvalidInput) else ()
            status, body = int(status_of(error)), error_body("openai", status_of(error), str(error), faults)
        response = {"status_code": status, "request_id": request_id, "body": body}
        answer = {"id": _row_id(job, row), "custom_id": request["custom_id"], "response": response, "error": None}
        return Answered(_json_line(answer), status == 200)

    async def _call(self, body: dict[str, Any]) -> Any:
        try:
            valid = self._route.body.model_validate(body)
        except ValidationError as error:
            raise _invalid(error) from None
        answer = await self._route.endpoint(valid, self._services, Response())
        return (
            json.loads(bytes(answer.body))
            if isinstance(answer, Response)
            else answer.model_dump(mode="json", by_alias=True)
        )

    def unanswered(self, job: Job, row: int, line: int, record: Record, code: str, why: str) -> Answered:
        """See `Endpoint.unanswered`."""
        custom_id = request_of(record, self._path, line)["custom_id"]
        error = {"code": code, "message": why}
        return Answered(
            _json_line({"id": _row_id(job, row), "custom_id": custom_id, "response": None, "error": error}), False
        )


class Pairs:
    """Rows with two sentences. The answer is the row with its line, its score and `pred`."""

    def __init__(self, services: BulkServices) -> None:
        self._services = services
        self._whole_bytes = services.settings.ingress.max_upload_bytes

    def scan(self, storage: Storage, name: str, limits: RowLimits) -> tuple[Source, list[Part]]:
        """See `Endpoint.scan`."""
        return scan_pairs(storage, name, limits, self._whole_bytes)

    async def answer(self, job: Job, row: int, line: int, record: Record) -> Answered:
        """See `Endpoint.answer`."""
        try:
            if job.source is None:
                raise MalformedInput("the job has no rows")
            cells = format_of(job.source).cells(record)
            pair = self._pair(cells)
            result = await patiently(
                lambda: self._services.sts_files.submit(pair), self._services.settings.jobs.patience_s
            )
        except MunjangError as error:
            code = error.faults[0].code if isinstance(error, InvalidInput) else status_of(error).name.lower()
            return self.unanswered(job, row, line, record, code, str(error))
        answer = cells | {"line": line, "score": result.score, "pred": int(result.similar)}
        return Answered(_json_line(answer), True)

    def _pair(self, cells: dict[str, Any]) -> tuple[str, str]:
        try:
            pair = _PAIR.validate_python(cells)
        except ValidationError as error:
            raise _invalid(error) from None
        for name, text in pair.items():
            refuse_long(name, str(text), self._services.settings.sts.max_characters)
        return pair["sentence1"], pair["sentence2"]

    def unanswered(self, job: Job, row: int, line: int, record: Record, code: str, why: str) -> Answered:  # noqa: ARG002
        """See `Endpoint.unanswered`."""
        error = {"code": code, "message": why}
        return Answered(_json_line({"id": _row_id(job, row), "line": line, "error": error}), False)


def endpoints_of(routes: Mapping[str, DirectRoute], services: BulkServices) -> dict[str, Endpoint]:
    """By path, what can be the endpoint of a job: each route that takes one JSON body, and the file of pairs."""
    return {
        **{path: Requests(path, route, services) for path, route in routes.items()},
        PAIRS_FILE: Pairs(services),
    }


async def patiently(call: Callable[[], Awaitable[Any]], patience_s: float) -> Any:
    """Make a call, and make it again while the models do not answer. Raises MunjangError, and the last one after
    `patience_s`.

    Pauses grow, and are random: rows that failed together because one of them kills replicas are tried apart.
    """
    loop = asyncio.get_running_loop()
    until_s, pause_s = loop.time() + patience_s, FIRST_PAUSE_S
    while True:
        try:
            return await call()
        except UnavailableError:
            if loop.time() + pause_s > until_s:
                raise
        except MunjangError:
            raise
        except Exception as error:
            log_failure("a row of a job", error)
            raise StageFailed("a row of a job", type(error).__name__) from None
        await asyncio.sleep(random.uniform(0.5, 1.0) * pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _invalid(error: ValidationError) -> InvalidInput:
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return InvalidInput(*(FieldFault(pointer(fault["loc"]), fault["type"], fault["msg"]) for fault in found))


def _row_id(job: Job, row: int) -> str:
    """The same for every try of a row."""
    return f"batch_req_{job.id.removeprefix('batch_')}{row:09}"


def _json_line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace") + b"\n"
