"""Which files and jobs there are, and who works on what: a SQLite file that ingress replicas and job runners open.

Every method is one transaction, so a process may be killed between any two of them. A runner claims a part or a job for
the time of a lease, and renews its claims. Whoever finds a lease that has run out takes it over, with a new token.
A result is recorded only under the token of the present claim, so each part has exactly one result.
"""

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from deployments.jobs.documents import file_document, file_of, job_document, job_of
from deployments.jobs.records import FINAL, Claim, Ending, Job, Part, Scored, Source, StoredFile
from pipelines.errors import Conflict, Overloaded, StorageFailed, StorageFull, UnknownId

BUSY_S = 10.0
TRY_LATER_S = 60.0
SCHEMA = """
PRAGMA journal_mode = DELETE;
CREATE TABLE IF NOT EXISTS files (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, owner TEXT, size INTEGER,
    expires_s REAL, document BLOB);
CREATE TABLE IF NOT EXISTS jobs (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, owner TEXT, status TEXT,
    expires_s REAL, key TEXT, fingerprint TEXT, token TEXT, until_s REAL DEFAULT 0, document BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS job_keys ON jobs (owner, key);
CREATE TABLE IF NOT EXISTS parts (job TEXT, number INTEGER, start INTEGER, end INTEGER, first_line INTEGER,
    first_row INTEGER, rows INTEGER, done INTEGER DEFAULT 0, token TEXT, until_s REAL DEFAULT 0,
    attempts INTEGER DEFAULT 0, completed INTEGER DEFAULT 0, failed INTEGER DEFAULT 0,
    output_bytes INTEGER DEFAULT 0, error_bytes INTEGER DEFAULT 0,
    PRIMARY KEY (job, number));
CREATE INDEX IF NOT EXISTS open_parts ON parts (job, done, until_s);
"""
PART = "number, start, end, first_line, first_row, rows"
NEXT_PART = f"""
SELECT j.document, p.attempts, {", ".join(f"p.{column}" for column in PART.split(", "))}
FROM parts p JOIN jobs j ON j.id = p.job
WHERE j.status = 'in_progress' AND j.expires_s > :now AND NOT p.done AND p.until_s <= :now
ORDER BY (SELECT COUNT(*) FROM parts o WHERE o.job = j.id AND NOT o.done AND o.until_s > :now), j.seq, p.number LIMIT 1
"""  # noqa: S608  the columns are those above; jobs with the fewest parts in work come first
NEXT_JOB = """
SELECT seq, document FROM jobs j WHERE until_s <= :now AND (
    status IN ('validating', 'cancelling', 'finalizing')
    OR (status = 'in_progress' AND (expires_s <= :now
        OR NOT EXISTS (SELECT 1 FROM parts p WHERE p.job = j.id AND NOT p.done)))
) ORDER BY seq LIMIT 1
"""


class Ledger:
    """See the module. Raises StorageFull if the disk is full, and StorageFailed for other faults of the database.

    path     the file, which is made with its folder if there is none
    clock_s  the time in seconds since 1970
    """

    def __init__(self, path: Path, *, lease_s: float, clock_s: Callable[[], float] = time.time) -> None:
        self._path, self._lease_s, self._clock_s = path, lease_s, clock_s
        self._ready = False

    def now_s(self) -> float:
        """The time by which leases and expiry are judged."""
        return self._clock_s()

    # Files.

    def add_file(self, file: StoredFile, max_bytes: int) -> None:
        """Add a file. Raises StorageFull if all files and results together would have more than `max_bytes`."""
        with self._transaction() as database:
            if _used(database) + file.size > max_bytes:
                raise StorageFull
            _insert_file(database, file)

    def used_bytes(self) -> int:
        """The bytes of all files and results."""
        with self._transaction() as database:
            return _used(database)

    def file(self, owner: str, file_id: str) -> StoredFile:
        """The file of an owner. Raises UnknownId."""
        with self._transaction() as database:
            return _file(database, owner, file_id)

    def files(self, owner: str, after: str | None, limit: int, *, newest_first: bool = True) -> list[StoredFile]:
        """At most `limit` files of an owner, from the one behind `after` on. Raises UnknownId."""
        with self._transaction() as database:
            documents = _page(database, "files", owner, after, limit, newest_first=newest_first)
        return [file_of(document) for document in documents]

    def delete_file(self, owner: str, file_id: str) -> StoredFile:
        """Remove a file, but not its bytes. Raises UnknownId, and Conflict while a job reads it."""
        with self._transaction() as database:
            file = _file(database, owner, file_id)
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
        with self._transaction() as database:
            columns = "SELECT document, fingerprint FROM jobs WHERE owner = ? AND key = ?"
            if key is not None and (found := database.execute(columns, (job.owner, key)).fetchone()):
                if found[1] != fingerprint:
                    raise Conflict("this Idempotency-Key was used for another request")
                return job_of(found[0])
            _file(database, job.owner, job.input_file_id)
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
        with self._transaction() as database:
            return _job(database, job_id, owner)

    def jobs(self, owner: str, after: str | None, limit: int) -> list[Job]:
        """At most `limit` jobs of an owner, newest first, from the one behind `after` on. Raises UnknownId."""
        with self._transaction() as database:
            return [job_of(document) for document in _page(database, "jobs", owner, after, limit, newest_first=True)]

    def cancel(self, owner: str, job_id: str) -> Job:
        """Let a job end as soon as possible. Raises UnknownId, and Conflict if it has ended or is ending."""
        with self._transaction() as database:
            job = _job(database, job_id, owner)
            if job.status == "cancelling":
                return job
            if job.status not in ("validating", "in_progress"):
                raise Conflict(f"the batch is {job.status} and can't be cancelled")
            return _save(database, self._with_status(job, "cancelling"))

    def done_parts(self, job_id: str, first: int = 0) -> list[tuple[Part, Scored]]:
        """The parts of a job that are done, from the one with the number `first` on, with what became of them."""
        query = f"""SELECT {PART}, completed, failed, output_bytes, error_bytes, token FROM parts
            WHERE job = ? AND done AND number >= ? ORDER BY number"""  # noqa: S608  the columns are constants
        with self._transaction() as database:
            return [(Part(*row[:6]), Scored(*row[6:])) for row in database.execute(query, (job_id, first))]

    def open_parts(self, job_id: str) -> list[Part]:
        """The parts of a job that are not done."""
        query = f"SELECT {PART} FROM parts WHERE job = ? AND NOT done ORDER BY number"  # noqa: S608  constants
        with self._transaction() as database:
            return [Part(*row) for row in database.execute(query, (job_id,))]

    # The runners' side.

    def claim_part(self) -> Claim | None:
        """Claim a part that nobody works on; None if there is none."""
        now_s, token = self.now_s(), secrets.token_hex(8)
        with self._transaction() as database:
            row = database.execute(NEXT_PART, {"now": now_s}).fetchone()
            if row is None:
                return None
            claim = Claim(job_of(row[0]), token, Part(*row[2:]), row[1] + 1)
            database.execute(
                "UPDATE parts SET token = ?, until_s = ?, attempts = attempts + 1 WHERE job = ? AND number = ?",
                (token, now_s + self._lease_s, claim.job.id, row[2]),
            )
            return claim

    def complete_part(self, claim: Claim, scored: Scored) -> bool:
        """Record what became of a part. Returns False if the claim is lost or the job is ending."""
        if claim.part is None:
            raise ValueError("the claim is on a whole job")
        with self._transaction() as database:
            changed = database.execute(
                """UPDATE parts SET done = 1, completed = ?, failed = ?, output_bytes = ?, error_bytes = ?
                WHERE job = ? AND number = ? AND NOT done AND token = ?
                AND EXISTS (SELECT 1 FROM jobs WHERE id = parts.job AND status = 'in_progress')""",
                (scored.completed, scored.failed, scored.output_bytes, scored.error_bytes, claim.job.id,
                 claim.part.number, claim.token),
            ).rowcount  # fmt: skip
            if changed:
                job = _job(database, claim.job.id)
                counted = replace(job, completed=job.completed + scored.completed, failed=job.failed + scored.failed)
                _save(database, counted)
            return bool(changed)

    def claim_job(self) -> Claim | None:
        """Claim a job that is to be validated or ended, and note how it will end; None if there is none."""
        now_s, token = self.now_s(), secrets.token_hex(8)
        with self._transaction() as database:
            row = database.execute(NEXT_JOB, {"now": now_s}).fetchone()
            if row is None:
                return None
            job = _save(database, self._ending(job_of(row[1])))
            database.execute(
                "UPDATE jobs SET token = ?, until_s = ? WHERE seq = ?", (token, now_s + self._lease_s, row[0])
            )
            return Claim(job, token)

    def begin_job(self, claim: Claim, source: Source, parts: Sequence[Part]) -> bool:
        """Let the parts of a validated job be claimed. Returns False if the claim is lost or the job was cancelled."""
        with self._transaction() as database:
            job = _claimed(database, claim)
            if job is None or job.status != "validating":
                return False
            database.executemany(
                f"INSERT INTO parts (job, {PART}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  constants
                [(job.id, one.number, one.start, one.end, one.first_line, one.first_row, one.rows) for one in parts],
            )
            begun = replace(job, source=source, total=sum(part.rows for part in parts))
            _save(database, self._with_status(begun, "in_progress"))
            database.execute("UPDATE jobs SET token = NULL, until_s = 0 WHERE id = ?", (job.id,))
            return True

    def end_job(self, claim: Claim, ended: Job, files: Sequence[StoredFile] = ()) -> bool:
        """Record the end of a job and its files of results. Returns False if the claim is lost or it was cancelled."""
        with self._transaction() as database:
            job = _claimed(database, claim)
            if job is None or job.status != claim.job.status:
                return False
            for file in files:
                _insert_file(database, file)
            _save(database, self._with_status(ended, ended.status))
            return True

    def renew(self, tokens: Sequence[str]) -> set[str]:
        """Renew claims. Returns those that are still held; others are lost, or their jobs are ending."""
        until_s, held = self.now_s() + self._lease_s, set()
        with self._transaction() as database:
            for token in tokens:
                parts = database.execute(
                    """UPDATE parts SET until_s = ? WHERE token = ? AND NOT done
                    AND EXISTS (SELECT 1 FROM jobs WHERE id = parts.job AND status = 'in_progress')""",
                    (until_s, token),
                ).rowcount
                jobs = database.execute("UPDATE jobs SET until_s = ? WHERE token = ?", (until_s, token)).rowcount
                if parts or jobs:
                    held.add(token)
        return held

    def release(self, claim: Claim) -> None:
        """Give a claim up before its lease runs out."""
        with self._transaction() as database:
            database.execute("UPDATE parts SET until_s = 0 WHERE token = ?", (claim.token,))
            database.execute("UPDATE jobs SET until_s = 0 WHERE token = ?", (claim.token,))

    def remove_expired(self, keep_s: float) -> tuple[list[StoredFile], list[str]]:
        """Forget expired files, and jobs that ended `keep_s` seconds ago. Returns both, to delete their bytes."""
        now_s = self.now_s()
        with self._transaction() as database:
            files = [
                file_of(document)
                for (document,) in database.execute("SELECT document FROM files WHERE expires_s <= ?", (now_s,))
            ]
            documents = database.execute("SELECT document FROM jobs").fetchall()
            jobs = [job_of(document) for (document,) in documents]
            read = {job.input_file_id for job in jobs if job.status not in FINAL}
            files = [file for file in files if file.id not in read]
            old = [job.id for job in jobs if job.status in FINAL and max(job.times.values()) <= now_s - keep_s]
            database.executemany("DELETE FROM files WHERE id = ?", [(file.id,) for file in files])
            for table, column in (("jobs", "id"), ("parts", "job")):
                database.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(job,) for job in old])  # noqa: S608
        return files, old

    def _ending(self, job: Job) -> Job:
        if job.status == "cancelling":
            return replace(job, ending="cancelled")
        ending: Ending = "expired" if job.expires_s <= self.now_s() else "completed"
        if job.status == "in_progress" or (job.status == "validating" and ending == "expired"):
            return replace(self._with_status(job, "finalizing"), ending=ending)
        return job

    def _with_status(self, job: Job, status: str) -> Job:
        return replace(job, status=status, times=job.times | {status: self.now_s()})  # type: ignore[arg-type]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._make()
            with closing(sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)) as database:
                database.execute("PRAGMA synchronous = FULL")  # a job that was accepted survives a power failure
                database.execute("BEGIN IMMEDIATE")
                try:
                    yield database
                except BaseException:
                    database.execute("ROLLBACK")
                    raise
                database.execute("COMMIT")
        except sqlite3.Error as error:
            full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            raise (StorageFull() if full else StorageFailed(type(error).__name__)) from None
        except OSError as error:
            raise StorageFailed(type(error).__name__) from None

    def _make(self) -> None:
        if not self._ready:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=BUSY_S)) as database:
                database.executescript(SCHEMA)
            self._path.chmod(0o600)
            self._ready = True


def _used(database: sqlite3.Connection) -> int:
    parts = "(SELECT COALESCE(SUM(output_bytes + error_bytes), 0) FROM parts)"
    files = "(SELECT COALESCE(SUM(size), 0) FROM files WHERE json_extract(document, '$.purpose') = 'batch')"
    return int(database.execute(f"SELECT {parts} + {files}").fetchone()[0])


def _insert_file(database: sqlite3.Connection, file: StoredFile) -> None:
    database.execute(
        "INSERT INTO files (id, owner, size, expires_s, document) VALUES (?, ?, ?, ?, ?)",
        (file.id, file.owner, file.size, file.expires_s, file_document(file)),
    )


def _file(database: sqlite3.Connection, owner: str, file_id: str) -> StoredFile:
    found = database.execute("SELECT document FROM files WHERE id = ? AND owner = ?", (file_id, owner)).fetchone()
    if found is None:
        raise UnknownId("file")
    return file_of(found[0])


def _job(database: sqlite3.Connection, job_id: str, owner: str | None = None) -> Job:
    found = database.execute("SELECT document, owner FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if found is None or owner not in (None, found[1]):
        raise UnknownId("batch")
    return job_of(found[0])


def _claimed(database: sqlite3.Connection, claim: Claim) -> Job | None:
    query = "SELECT document FROM jobs WHERE id = ? AND token = ?"
    found = database.execute(query, (claim.job.id, claim.token)).fetchone()
    return job_of(found[0]) if found else None


def _save(database: sqlite3.Connection, job: Job) -> Job:
    database.execute("UPDATE jobs SET status = ?, document = ? WHERE id = ?", (job.status, job_document(job), job.id))
    return job


def _page(
    database: sqlite3.Connection, table: str, owner: str, after: str | None, limit: int, *, newest_first: bool
) -> list[bytes]:
    order, sign = ("DESC", "<") if newest_first else ("ASC", ">")
    query, values = f"SELECT document FROM {table} WHERE owner = ?", [owner]  # noqa: S608  the table is a constant
    if after is not None:
        seq = database.execute(f"SELECT seq FROM {table} WHERE id = ? AND owner = ?", (after, owner)).fetchone()  # noqa: S608
        if seq is None:
            raise UnknownId("file" if table == "files" else "batch")
        query, values = f"{query} AND seq {sign} ?", [*values, seq[0]]
    return [document for (document,) in database.execute(f"{query} ORDER BY seq {order} LIMIT ?", (*values, limit))]
