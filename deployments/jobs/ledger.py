"""Which files and jobs there are, and the rules by which they change. Ingress replicas and job runners share it.

Every method is one transaction, so a process may be killed between any two of them.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from deployments.jobs.records import Job, Part, Scored, StoredFile
from deployments.jobs.tables import Database, Tables, transaction
from pipelines.errors import Conflict, Overloaded, StorageFull, UnknownId

TRY_LATER_S = 60.0


class Ledger:
    """What the owners of files and jobs do with them. See `Database` for what all methods raise.

    database  what keeps the files and jobs
    clock_s   the time in seconds since 1970
    """

    def __init__(self, database: Database, *, clock_s: Callable[[], float] = time.time) -> None:
        self.database, self._clock_s = database, clock_s

    def now_s(self) -> float:
        """The time by which leases and expiry are judged."""
        return self._clock_s()

    # Files.

    @transaction
    def add_file(self, tables: Tables, file: StoredFile, max_bytes: int) -> None:
        """Add a file. Raises StorageFull if all files and results together would have more than `max_bytes`."""
        if tables.used_bytes() + file.size > max_bytes:
            raise StorageFull
        tables.add_file(file)

    @transaction
    def used_bytes(self, tables: Tables) -> int:
        """The bytes of all files and results."""
        return tables.used_bytes()

    @transaction
    def file(self, tables: Tables, owner: str, file_id: str) -> StoredFile:
        """The file of an owner. Raises UnknownId."""
        return file_with(tables, owner, file_id)

    @transaction
    def files(
        self, tables: Tables, owner: str, after: str | None, limit: int, *, newest_first: bool = True
    ) -> list[StoredFile]:
        """At most `limit` files of an owner, from the one behind `after` on. Raises UnknownId."""
        return tables.files_of(owner, after, limit, newest_first=newest_first)

    @transaction
    def delete_file(self, tables: Tables, owner: str, file_id: str) -> StoredFile:
        """Remove a file, but not its bytes. Raises UnknownId, and Conflict while a job reads it."""
        file = file_with(tables, owner, file_id)
        if any(job.input_file_id == file_id for job in tables.unfinished_jobs(owner)):
            raise Conflict("a batch that has not ended reads this file; cancel the batch first")
        tables.delete_files([file])
        return file

    # Jobs, as their owner sees them.

    @transaction
    def add_job(self, tables: Tables, job: Job, max_active: int, key: str | None = None, fingerprint: str = "") -> Job:
        """Add a job, or return the one that the owner has added with the same key.

        Raises UnknownId for an unknown input file, Conflict if the key was used for a request with another fingerprint,
        and Overloaded if the owner has `max_active` unfinished jobs.
        """
        if key is not None and (found := tables.job_with_key(job.owner, key)):
            earlier, of_earlier = found
            if of_earlier != fingerprint:
                raise Conflict("this Idempotency-Key was used for another request")
            return earlier
        file_with(tables, job.owner, job.input_file_id)
        if len(tables.unfinished_jobs(job.owner)) >= max_active:
            raise Overloaded(TRY_LATER_S)
        tables.add_job(job, key, fingerprint)
        return job

    @transaction
    def job(self, tables: Tables, owner: str, job_id: str) -> Job:
        """The job of an owner. Raises UnknownId."""
        return job_with(tables, owner, job_id)

    @transaction
    def jobs(self, tables: Tables, owner: str, after: str | None, limit: int) -> list[Job]:
        """At most `limit` jobs of an owner, newest first, from the one behind `after` on. Raises UnknownId."""
        return tables.jobs_of(owner, after, limit)

    @transaction
    def cancel(self, tables: Tables, owner: str, job_id: str) -> Job:
        """Let a job end as soon as possible. Raises UnknownId, and Conflict if it has ended or is ending."""
        job = job_with(tables, owner, job_id)
        if job.status == "cancelling":
            return job
        if job.status not in ("validating", "in_progress"):
            raise Conflict(f"the batch is {job.status} and can't be cancelled")
        cancelled = self._with_status(job, "cancelling")
        tables.save_job(cancelled)
        return cancelled

    @transaction
    def done_parts(self, tables: Tables, job_id: str, first: int = 0) -> list[tuple[Part, Scored]]:
        """The parts of a job that are done, from the one with the number `first` on, with what became of them."""
        return tables.done_parts(job_id, first)

    @transaction
    def open_parts(self, tables: Tables, job_id: str) -> list[Part]:
        """The parts of a job that are not done."""
        return tables.open_parts(job_id)

    def _with_status(self, job: Job, status: str) -> Job:
        return replace(job, status=status, times=job.times | {status: self.now_s()})  # type: ignore[arg-type]


def file_with(tables: Tables, owner: str, file_id: str) -> StoredFile:
    """The file of an owner. Raises UnknownId."""
    file = tables.file(file_id)
    if file is None or file.owner != owner:
        raise UnknownId("file")
    return file


def job_with(tables: Tables, owner: str, job_id: str) -> Job:
    """The job of an owner. Raises UnknownId."""
    job = tables.job(job_id)
    if job is None or job.owner != owner:
        raise UnknownId("batch")
    return job
