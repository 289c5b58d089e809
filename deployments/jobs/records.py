"""What is known about files and jobs. A job is what OpenAI calls a batch.

Nothing in a record is a path that a caller chose. Ids are random, so that nobody can guess one.
"""

import re
import secrets
from dataclasses import dataclass, field
from typing import Literal

Purpose = Literal["batch", "batch_output"]
Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
Ending = Literal["completed", "expired", "cancelled"]
FINAL: frozenset[Status] = frozenset({"failed", "completed", "expired", "cancelled"})
"""The statuses that never change again."""

_ID = re.compile(r"(file-|batch_)[0-9a-f]{32}")


def new_file_id() -> str:
    """A random id of a file."""
    return f"file-{secrets.token_hex(16)}"


def new_job_id() -> str:
    """A random id of a job."""
    return f"batch_{secrets.token_hex(16)}"


def is_id(text: str) -> bool:
    """Whether this could be an id of a file or job."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file, or the results of a job.

    owner     the name of the API key that it belongs to; "" where no keys are configured
    filename  as the uploader named it; it is only ever shown
    size      in bytes
    """

    id: str
    owner: str
    purpose: Purpose
    filename: str
    size: int
    created_s: float
    expires_s: float


@dataclass(frozen=True, slots=True)
class JobFault:
    """Why a job failed before it began: a short code, an explanation, and the line and field if there are any."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of a job: in which format, in which file of the storage.

    header  the columns of a CSV or TSV file
    """

    format: Literal["requests", "jsonl", "csv", "tsv"]
    name: str
    header: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A job. Its times are seconds since 1970, by status.

    ending  the status that it will have once its results are written
    """

    id: str
    owner: str
    endpoint: str
    input_file_id: str
    window: str
    created_s: float
    expires_s: float
    status: Status = "validating"
    ending: Ending | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    source: Source | None = None
    faults: tuple[JobFault, ...] = ()
    total: int = 0
    completed: int = 0
    failed: int = 0
    times: dict[str, float] = field(default_factory=dict)
    output_file_id: str | None = None
    error_file_id: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the rows of a job: the bytes [start, end) of its source.

    first_line  the number of its first line in the uploaded file, from 1
    first_row   the number of its first row, from 0
    rows        how many rows it has; blank lines are no rows
    """

    number: int
    start: int
    end: int
    first_line: int
    first_row: int
    rows: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a part, or on a whole job where `part` is None.

    It is lost where its lease is not renewed in time. What was computed under a lost claim is not recorded.

    token     names the files that are written under this claim; no other claim has it
    attempts  how often the part was claimed, with this time
    """

    job: Job
    token: str
    part: Part | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Scored:
    """What became of a part: rows with an answer and rows with an error, and the bytes of the files with them.

    token  that of the claim under which the files were written
    """

    completed: int
    failed: int
    output_bytes: int
    error_bytes: int
    token: str = ""


def ended_s(job: Job) -> float | None:
    """When a job ended, in seconds since 1970; None while it has not."""
    return max(job.times.values()) if job.status in FINAL else None


def output_name(job: str, number: int, token: str) -> str:
    """The name in the storage of the answers of a part."""
    return f"results/{job}/{number:06}-{token}.output.jsonl"


def errors_name(job: str, number: int, token: str) -> str:
    """The name in the storage of the errors of a part."""
    return f"results/{job}/{number:06}-{token}.errors.jsonl"


def upload_name(file: str) -> str:
    """The name in the storage of an uploaded file."""
    return f"uploads/{file}"


def manifest_name(file: str) -> str:
    """The name in the storage of the list of the parts of a file of results."""
    return f"manifests/{file}.json"
