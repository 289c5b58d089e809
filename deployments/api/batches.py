"""OpenAI's Batches: make, watch and cancel jobs, and read their results while they run."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from deployments.api.access import key_of, scope_of
from deployments.api.files import Id, contents, one_transfer, owner_of
from deployments.api.openai_shapes import BatchList, BatchObject, NewBatch, refusals
from deployments.api.services import Services, ServicesOf
from deployments.api.slashes import other_form
from deployments.jobs.records import FINAL, Job, errors_name, is_id, new_job_id, output_name
from pipelines.errors import Conflict, FieldFault, InvalidInput, UnknownId

HOUR_S = {"h": 3600, "d": 86_400}
LOOK_EVERY_S = 0.5
SIGN_OF_LIFE_S = 5.0

router = APIRouter(tags=["jobs"], responses=refusals())


@router.post(
    "/v1/batches",
    responses=refusals(
        HTTPStatus.NOT_FOUND,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.GATEWAY_TIMEOUT,
        HTTPStatus.INSUFFICIENT_STORAGE,
    ),
)
async def create_batch(
    body: NewBatch,
    request: Request,
    services: ServicesOf,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> BatchObject:
    """Make a job of an uploaded file. The same Idempotency-Key with the same body returns the job that it has made."""
    jobs, endpoint = services.jobs, _endpoint(request, body.endpoint)
    seconds = int(body.completion_window[:-1]) * HOUR_S[body.completion_window[-1]]
    if seconds > jobs.settings.max_window_s:
        why = f"must be no longer than {jobs.settings.max_window_s / 3600:.0f}h"
        raise InvalidInput(FieldFault("/completion_window", "out_of_range", why))
    if not is_id(body.input_file_id):
        raise UnknownId("file")
    now_s, owner = jobs.ledger.now_s(), owner_of(request)
    job = Job(
        new_job_id(),
        owner,
        endpoint,
        body.input_file_id,
        body.completion_window,
        now_s,
        now_s + seconds,
        metadata=body.metadata or {},
    )
    file = await to_thread.run_sync(jobs.ledger.file, owner, body.input_file_id)
    if file.purpose != "batch":
        raise InvalidInput(FieldFault("/input_file_id", "invalid_purpose", "the file must have the purpose batch"))
    fingerprint = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
    added = await to_thread.run_sync(jobs.ledger.add_job, job, jobs.settings.max_active, idempotency_key, fingerprint)
    await services.wake_jobs()
    return BatchObject.of(added)


def _endpoint(request: Request, named: str) -> str:
    """The path of the endpoint. Raises InvalidInput if it is none, or the caller's key does not open it."""
    known = request.app.state.batch_endpoints
    path = next((form for form in (named, other_form(named)) if form in known), None)
    key = key_of(request)
    if path is None:
        why = f"must be one of {', '.join(sorted(known))}"
        raise InvalidInput(FieldFault("/endpoint", "invalid_endpoint", why))
    if key is not None and scope_of(path) not in key.scopes:
        raise InvalidInput(
            FieldFault("/endpoint", "insufficient_scope", f"the API key lacks the scope {scope_of(path)}")
        )
    return path


@router.get("/v1/batches", responses=refusals(HTTPStatus.NOT_FOUND))
async def list_batches(
    request: Request,
    services: ServicesOf,
    after: Id | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> BatchList:
    """The caller's jobs, newest first."""
    found = await to_thread.run_sync(services.jobs.ledger.jobs, owner_of(request), after, limit + 1)
    data = [BatchObject.of(job) for job in found[:limit]]
    ids: list[str | None] = [*(job.id for job in data)] or [None]
    return BatchList(data=data, first_id=ids[0], last_id=ids[-1], has_more=len(found) > limit)


@router.get("/v1/batches/{batch_id}", responses=refusals(HTTPStatus.NOT_FOUND))
async def get_batch(request: Request, batch_id: str, services: ServicesOf) -> BatchObject:
    """A job and its progress."""
    return BatchObject.of(await _job(request, services, batch_id))


@router.post("/v1/batches/{batch_id}/cancel", responses=refusals(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
async def cancel_batch(request: Request, batch_id: str, services: ServicesOf) -> BatchObject:
    """End a job early. Its results so far become its files."""
    await _job(request, services, batch_id)
    job = await to_thread.run_sync(services.jobs.ledger.cancel, owner_of(request), batch_id)
    await services.wake_jobs()
    return BatchObject.of(job)


@router.get(
    "/v1/batches/{batch_id}/events",
    response_class=StreamingResponse,
    responses=refusals(HTTPStatus.NOT_FOUND) | {200: {"content": {"text/event-stream": {}}}},
)
async def batch_events(request: Request, batch_id: str, services: ServicesOf) -> StreamingResponse:
    """Server-sent events: the job at first and after every change, until it has ended."""
    job = await _job(request, services, batch_id)

    async def events() -> AsyncGenerator[str]:
        with one_transfer(request, services.jobs):
            async for event in _changes(request, services, job):
                yield event

    with one_transfer(request, services.jobs):
        pass  # a refusal must come before the answer begins
    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _changes(request: Request, services: Services, job: Job) -> AsyncGenerator[str]:
    shown, quiet_s = "", 0.0
    while True:
        now = BatchObject.of(job).model_dump_json()
        if now != shown:
            shown, quiet_s = now, 0.0
            yield f"event: batch\ndata: {now}\n\n"
        elif quiet_s >= SIGN_OF_LIFE_S:
            quiet_s = 0.0
            yield ":\n\n"
        if job.status in FINAL:
            return
        await asyncio.sleep(LOOK_EVERY_S)
        quiet_s += LOOK_EVERY_S
        job = await _job(request, services, job.id)


@router.get(
    "/v1/batches/{batch_id}/output",
    response_class=StreamingResponse,
    responses=refusals(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
    | {200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def batch_output(
    request: Request,
    batch_id: str,
    services: ServicesOf,
    first_part: Annotated[int, Query(ge=0, le=10**9)] = 0,
    errors: bool = False,
) -> StreamingResponse:
    """The answers that are there already, or with `errors` the errors, in the order of the rows.

    The header X-Next-Part has the number of the first part that is not done; with it as `first_part`, the next request
    gets what has been done since.
    """
    job = await _job(request, services, batch_id)
    jobs = services.jobs
    if job.status in FINAL:
        raise Conflict("the batch has ended; its results are in its output file and its error file")
    done = await to_thread.run_sync(jobs.ledger.done_parts, job.id, first_part)
    names, next_part = [], first_part
    for part, scored in done:
        if part.number != next_part:
            break
        next_part += 1
        if scored.error_bytes if errors else scored.output_bytes:
            names.append((errors_name if errors else output_name)(job.id, part.number, scored.token))
    return StreamingResponse(
        contents(jobs.storage, names),
        media_type="application/octet-stream",
        headers={"X-Next-Part": str(next_part), "X-Content-Type-Options": "nosniff"},
    )


async def _job(request: Request, services: Services, batch_id: str) -> Job:
    if not is_id(batch_id):
        raise UnknownId("batch")
    return await to_thread.run_sync(services.jobs.ledger.job, owner_of(request), batch_id)
