"""Bodies of the routes for files and jobs, in OpenAI's shapes."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from deployments.api.clients.errors import OpenAiError
from deployments.jobs.records import Job, Status, StoredFile

MAX_METADATA = 16


class FileObject(BaseModel):
    """A file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"

    @classmethod
    def of(cls, file: StoredFile) -> "FileObject":
        """The object of a record."""
        return cls(
            id=file.id,
            bytes=file.size,
            created_at=int(file.created_s),
            expires_at=int(file.expires_s),
            filename=file.filename,
            purpose=file.purpose,
        )


class FileList(BaseModel):
    """A page of files."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(BaseModel):
    """The answer to a deletion."""

    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


class BatchFault(BaseModel):
    """Why a job failed before it began."""

    code: str
    line: int | None
    message: str
    param: str | None


class BatchErrors(BaseModel):
    """The first faults of a job's file."""

    object: Literal["list"] = "list"
    data: list[BatchFault]


class RequestCounts(BaseModel):
    """Rows: all, with an answer, with an error."""

    total: int
    completed: int
    failed: int


class BatchObject(BaseModel):
    """A job. Times are whole seconds since 1970."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: Status
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None

    @classmethod
    def of(cls, job: Job) -> "BatchObject":
        """The object of a record."""
        faults = [BatchFault(code=one.code, line=one.line, message=one.message, param=one.param) for one in job.faults]
        statuses = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        times: dict[str, Any] = {f"{name}_at": int(job.times[name]) if name in job.times else None for name in statuses}
        return cls(
            id=job.id,
            endpoint=job.endpoint,
            errors=BatchErrors(data=faults) if faults else None,
            input_file_id=job.input_file_id,
            completion_window=job.window,
            status=job.status,
            output_file_id=job.output_file_id,
            error_file_id=job.error_file_id,
            created_at=int(job.created_s),
            expires_at=int(job.expires_s),
            request_counts=RequestCounts(total=job.total, completed=job.completed, failed=job.failed),
            metadata=job.metadata or None,
            **times,
        )


class BatchList(BaseModel):
    """A page of jobs."""

    object: Literal["list"] = "list"
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class NewBatch(BaseModel):
    """A job to make."""

    input_file_id: str = Field(max_length=64)
    endpoint: str = Field(max_length=64, examples=["/pred/sentences/"])
    completion_window: str = Field(
        pattern=r"^[1-9][0-9]{0,2}[hd]$",
        examples=["24h"],
        description="After this time the job expires: hours or days.",
    )
    metadata: (
        dict[
            Annotated[str, StringConstraints(max_length=64)],
            Annotated[str, StringConstraints(max_length=512)],
        ]
        | None
    ) = Field(None, max_length=MAX_METADATA)


def refusals(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of the error answers of a route."""
    every = (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
    return {int(status): {"description": status.phrase, "model": OpenAiError} for status in (*every, *statuses)}
