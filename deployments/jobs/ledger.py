"""Which files and jobs there are: a SQLite file that ingress replicas and job runners open.

Every method is one transaction, so a process may be killed between any two of them.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from deployments.jobs.database import PART, Database, file_with, insert_file, job_with, page, save_job, used_bytes
from deployments.jobs.documents import file_of, job_document, job_of
from deployments.jobs.records import FINAL, Job, Part, Scored, StoredFile
from pipelines.errors import Conflict, Overloaded, StorageFull

TRY_LATER_S = 60.0


class Ledger:
    """What the owners of files and jobs do with them. See `Database` for what all methods raise.

    path     the file, which is made with its folder if there is none
    clock_s  the time in seconds since 1970
    """

    def __init__(self, path: Path, *, clock_s: Callable[[], float] = time.time) -> None:
        self._database, self._clock_s = Database(path), clock_s

    def now_s(self) -> float:
        """The time by which leases and expiry are judged."""
        return self._clock_s()

    # Files.

    def add_file(self, file: StoredFile, max_bytes: int) -> None:
        """Add a file. Raises StorageFull if all files and results together would have more than `max_bytes`."""
        with self._database.transaction() as database:
            if used_bytes(database) + file.size > max_bytes:
                raise StorageFull
            insert_file(database, file)

    def used_bytes(self) -> int:
        """The bytes of all files and results."""
        with self._database.transaction() as database:
            return used_bytes(database)

    def file(self, owner: str, file_id: str) -> StoredFile:
        """The file of an owner. Raises UnknownId."""
        with self._database.transaction() as database:
            return file_with(database, owner, file_id)

    def files(self, owner: str, after: str | None, limit: int, *, newest_first: bool = True) -> list[StoredFile]:
        """At most `limit` files of an owner, from the one behind `after` on. Raises UnknownId."""
        with self._database.transaction() as database:
            documents = page(database, "files", owner, after, limit, newest_first=newest_first)
        return [file_of(document) for document in documents]

    def delete_file(self, owner: str, file_id: str) -> StoredFile:
        """Remove a file, but not its bytes. Raises UnknownId, and Conflict while a job reads it."""
        with self._database.transaction() as database:
            file = file_with(database, owner, file_id)
            for (document,) in database.execute("SELECT document FROM jobs WHERE owner = ?", (owner,)):
                job = job_of(document)
                if job.input_file_id == file_id and job.status not in FINAL:
                    raise Conflict("a batch that has not ended reads this file; cancel the batch first")
            database.execute("DELETE FROM files WHERE id = ?", (file_id,))
            return file

    # Jobs, as their owner sees them.

    def add_job(self, job: Job, max_active: int, key: str | None = None, fingerprint: str = "") -> Job:
        """Add a job, or return the one that the owner has added with the same key.

        Raises UnknownId for an unknown input file, Conflict if the key was used for a request with another fingerprint,
        and Overloaded if the owner has `max_active` unfinished jobs.
        """
        with self._database.transaction() as database:
            columns = "SELECT document, fingerprint FROM jobs WHERE owner = ? AND key = ?"
            if key is not None and (found := database.execute(columns, (job.owner, key)).fetchone()):
                if found[1] != fingerprint:
                    raise Conflict("this Idempotency-Key was used for another request")
                return job_of(found[0])
            file_with(database, job.owner, job.input_file_id)
            statuses = database.execute("SELECT status FROM jobs WHERE owner = ?", (job.owner,)).fetchall()
            if sum(status not in FINAL for (status,) in statuses) >= max_active:
                raise Overloaded(TRY_LATER_S)
            database.execute(
                """INSERT INTO jobs (id, owner, status, expires_s, key, fingerprint, document)
                VALUES (?, ?, ?, ?, ?, ?, ?)""",
                (job.id, job.owner, job.status, job.expires_s, key, fingerprint, job_document(job)),
            )
            return job

    def job(self, owner: str, job_id: str) -> Job:
        """The job of an owner. Raises UnknownId."""
        with self._database.transaction() as database:
            return job_with(database, job_id, owner)

    def jobs(self, owner: str, after: str | None, limit: int) -> list[Job]:
        """At most `limit` jobs of an owner, newest first, from the one behind `after` on. Raises UnknownId."""
        with self._database.transaction() as database:
            return [job_of(document) for document in page(database, "jobs", owner, after, limit, newest_first=True)]

    def cancel(self, owner: str, job_id: str) -> Job:
        """Let a job end as soon as possible. Raises UnknownId, and Conflict if it has ended or is ending."""
        with self._database.transaction() as database:
            job = job_with(database, job_id, owner)
            if job.status == "cancelling":
                return job
            if job.status not in ("validating", "in_progress"):
                raise Conflict(f"the batch is {job.status} and can't be cancelled")
            return save_job(database, self._with_status(job, "cancelling"))

    def done_parts(self, job_id: str, first: int = 0) -> list[tuple[Part, Scored]]:
        """The parts of a job that are done, from the one with the number `first` on, with what became of them."""
        query = f"""SELECT {PART}, completed, failed, output_bytes, error_bytes, token FROM parts
            WHERE job = ? AND done AND number >= ? ORDER BY number"""  # noqa: S608  the columns are constants
        with self._database.transaction() as database:
            return [(Part(*row[:6]), Scored(*row[6:])) for row in database.execute(query, (job_id, first))]

    def open_parts(self, job_id: str) -> list[Part]:
        """The parts of a job that are not done."""
        query = f"SELECT {PART} FROM parts WHERE job = ? AND NOT done ORDER BY number"  # noqa: S608  constants
        with self._database.transaction() as database:
            return [Part(*row) for row in database.execute(query, (job_id,))]

    def _with_status(self, job: Job, status: str) -> Job:
        return replace(job, status=status, times=job.times | {status: self.now_s()})  # type: ignore[arg-type]
