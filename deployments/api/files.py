"""OpenAI's Files: upload, list, download and delete the files of jobs."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import StringConstraints

from deployments.api.access import key_of
from deployments.api.body_reader import BodyLimits, pieces_of_body
from deployments.api.deadlines import Deadline
from deployments.api.media_types import Kind, refuse_other_media
from deployments.api.openai_shapes import DeletedFile, FileList, FileObject, refusals
from deployments.api.services import Jobs, Services, ServicesOf
from deployments.api.upload import UploadForm
from deployments.jobs.records import Purpose, StoredFile, is_id, new_file_id, upload_name
from deployments.jobs.runner import delete_content, names_of
from deployments.jobs.storage import BLOCK_BYTES, NewFile, Storage
from pipelines.errors import FieldFault, InvalidInput, Overloaded, StorageFull, TooLarge, UnknownId

PURPOSE: Purpose = "batch"
LONGEST_NAME = 255
SHORTEST_EXPIRY_S = 3600
FORM_BYTES = 2**20  # what a form may have beside its file
Id = Annotated[str, StringConstraints(max_length=64)]
UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            Kind.UPLOAD.value: {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": [PURPOSE]},
                        "expires_after[seconds]": {"type": "string", "description": "3600 or more"},
                    },
                }
            }
        },
    }
}

router = APIRouter(tags=["jobs"], responses=refusals())


def owner_of(request: Request) -> str:
    """The name of the caller's key; "" where no keys are configured."""
    key = key_of(request)
    return key.name if key else ""


@contextmanager
def one_transfer(request: Request, jobs: Jobs) -> Iterator[None]:
    """Count a request that may last long. Raises Overloaded."""
    state = request.app.state
    if state.transfers >= jobs.settings.max_transfers:
        raise Overloaded(5.0)
    state.transfers += 1
    try:
        yield
    finally:
        state.transfers -= 1


@router.post(
    "/v1/files",
    openapi_extra=UPLOAD,
    responses=refusals(
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.GATEWAY_TIMEOUT,
        HTTPStatus.INSUFFICIENT_STORAGE,
    ),
)
async def create_file(request: Request, services: ServicesOf) -> FileObject:
    """Upload a file. It goes to the storage as it arrives."""
    refuse_other_media(request.headers, Kind.UPLOAD)
    jobs, file_id = services.jobs, new_file_id()
    most = jobs.settings.max_file_bytes + FORM_BYTES
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most:
        raise TooLarge("the body", most, "bytes")
    form = UploadForm(request.headers["content-type"])
    with one_transfer(request, jobs):
        new = await to_thread.run_sync(_begin, jobs, file_id)
        try:
            await _receive(request, services, form, new)
            file = _described(form, new.size, file_id, owner_of(request), jobs)
            await asyncio.shield(to_thread.run_sync(_keep, jobs, new, file))
        except BaseException:
            new.discard()
            raise
    return FileObject.of(file)


def _begin(jobs: Jobs, file_id: str) -> NewFile:
    """Begin a file. Raises StorageFull where nothing is left of the quota."""
    if jobs.ledger.used_bytes() >= jobs.settings.max_bytes:
        raise StorageFull
    return jobs.storage.new(upload_name(file_id))


async def _receive(request: Request, services: Services, form: UploadForm, new: NewFile) -> None:
    limits, jobs = services.settings.ingress, services.jobs.settings
    body = BodyLimits(jobs.max_file_bytes + FORM_BYTES, limits.body_pause_s, limits.min_body_bytes_per_s)
    async for piece in pieces_of_body(request.receive, body, Deadline(limits.upload_deadline_s)):
        form.feed(piece)
        if len(form.pending) >= BLOCK_BYTES:
            await _write(form, new, jobs.max_file_bytes)
    await _write(form, new, jobs.max_file_bytes)


async def _write(form: UploadForm, new: NewFile, most: int) -> None:
    if new.size + len(form.pending) > most:
        raise TooLarge("the file", most, "bytes")
    content = bytes(form.pending)
    form.pending.clear()
    await to_thread.run_sync(new.write, content)


def _described(form: UploadForm, size: int, file_id: str, owner: str, jobs: Jobs) -> StoredFile:
    """The record of an uploaded file. Raises MalformedInput and InvalidInput for a wrong form."""
    fields = form.fields()
    if fields.get("purpose") != PURPOSE:
        raise InvalidInput(FieldFault("/purpose", "invalid_purpose", f"must be {PURPOSE}"))
    if not size:
        raise InvalidInput(FieldFault("/file", "empty", "the file is empty"))
    seconds, longest_s = fields.get("expires_after[seconds]"), jobs.settings.expires_after_s
    if seconds is not None and not (seconds.isdecimal() and SHORTEST_EXPIRY_S <= int(seconds) <= longest_s):
        why = f"must be a number from {SHORTEST_EXPIRY_S} to {longest_s:.0f}"
        raise InvalidInput(FieldFault("/expires_after[seconds]", "out_of_range", why))
    now_s = jobs.ledger.now_s()
    name = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in fields["filename"])
    expires_s = now_s + (float(seconds) if seconds else longest_s)
    return StoredFile(file_id, owner, PURPOSE, name[:LONGEST_NAME], size, now_s, expires_s)


def _keep(jobs: Jobs, new: NewFile, file: StoredFile) -> None:
    """Give the file its name and add it to the ledger; if that fails, delete it."""
    new.commit()
    try:
        jobs.ledger.add_file(file, jobs.settings.max_bytes)
    except BaseException:
        jobs.storage.delete(upload_name(file.id))
        raise


@router.get("/v1/files", responses=refusals(HTTPStatus.NOT_FOUND))
async def list_files(
    request: Request,
    services: ServicesOf,
    after: Id | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: Id | None = None,
) -> FileList:
    """The caller's files, newest first unless `order` is asc."""
    owner = owner_of(request)
    found = await to_thread.run_sync(
        lambda: services.jobs.ledger.files(owner, after, limit + 1, newest_first=order == "desc")
    )
    data = [FileObject.of(file) for file in found[:limit] if purpose in (None, file.purpose)]
    ids: list[str | None] = [*(file.id for file in data)] or [None]
    return FileList(data=data, first_id=ids[0], last_id=ids[-1], has_more=len(found) > limit)


@router.get("/v1/files/{file_id}", responses=refusals(HTTPStatus.NOT_FOUND))
async def get_file(request: Request, file_id: str, services: ServicesOf) -> FileObject:
    """A file, without its content."""
    return FileObject.of(await _file(request, services, file_id))


@router.delete("/v1/files/{file_id}", responses=refusals(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
async def delete_file(request: Request, file_id: str, services: ServicesOf) -> DeletedFile:
    """Delete a file. A file that a job still reads can't be deleted."""
    jobs = services.jobs
    await _file(request, services, file_id)
    file = await to_thread.run_sync(jobs.ledger.delete_file, owner_of(request), file_id)
    await to_thread.run_sync(delete_content, jobs.storage, file)
    return DeletedFile(id=file_id)


@router.get(
    "/v1/files/{file_id}/content",
    response_class=StreamingResponse,
    responses=refusals(HTTPStatus.NOT_FOUND)
    | {200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def file_content(request: Request, file_id: str, services: ServicesOf) -> StreamingResponse:
    """The content of a file."""
    file = await _file(request, services, file_id)
    storage = services.jobs.storage
    names = await to_thread.run_sync(names_of, storage, file)
    headers = {"Content-Length": str(file.size), "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(contents(storage, names), media_type="application/octet-stream", headers=headers)


async def contents(storage: Storage, names: Sequence[str]) -> AsyncGenerator[bytes]:
    """The bytes of files, one after the other."""
    for name in names:
        blocks = storage.blocks(name)
        while block := await to_thread.run_sync(next, blocks, b""):
            yield block


async def _file(request: Request, services: Services, file_id: str) -> StoredFile:
    if not is_id(file_id):
        raise UnknownId("file")
    return await to_thread.run_sync(services.jobs.ledger.file, owner_of(request), file_id)
