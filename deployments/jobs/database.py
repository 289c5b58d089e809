"""The SQLite file of the ledger: its tables, its transactions, and the reading and writing of its rows."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from deployments.jobs.documents import file_document, file_of, job_document, job_of
from deployments.jobs.records import Claim, Job, StoredFile
from pipelines.errors import StorageFailed, StorageFull, UnknownId

BUSY_S = 10.0
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
"""The columns of `Part`."""


class Database:
    """Raises StorageFull if the disk is full, and StorageFailed for other faults of the database.

    path  the file, which is made with its folder if there is none
    """

    def __init__(self, path: Path) -> None:
        self._path, self._ready = path, False

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a connection for one transaction, which an exception rolls back."""
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


def used_bytes(database: sqlite3.Connection) -> int:
    """The bytes of all files and results."""
    parts = "(SELECT COALESCE(SUM(output_bytes + error_bytes), 0) FROM parts)"
    files = "(SELECT COALESCE(SUM(size), 0) FROM files WHERE json_extract(document, '$.purpose') = 'batch')"
    return int(database.execute(f"SELECT {parts} + {files}").fetchone()[0])


def insert_file(database: sqlite3.Connection, file: StoredFile) -> None:
    """Add a file."""
    database.execute(
        "INSERT INTO files (id, owner, size, expires_s, document) VALUES (?, ?, ?, ?, ?)",
        (file.id, file.owner, file.size, file.expires_s, file_document(file)),
    )


def file_with(database: sqlite3.Connection, owner: str, file_id: str) -> StoredFile:
    """The file of an owner. Raises UnknownId."""
    found = database.execute("SELECT document FROM files WHERE id = ? AND owner = ?", (file_id, owner)).fetchone()
    if found is None:
        raise UnknownId("file")
    return file_of(found[0])


def job_with(database: sqlite3.Connection, job_id: str, owner: str | None = None) -> Job:
    """A job, of the given owner if there is one. Raises UnknownId."""
    found = database.execute("SELECT document, owner FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if found is None or owner not in (None, found[1]):
        raise UnknownId("batch")
    return job_of(found[0])


def claimed_job(database: sqlite3.Connection, claim: Claim) -> Job | None:
    """The job that a claim is on; None if the claim is lost."""
    query = "SELECT document FROM jobs WHERE id = ? AND token = ?"
    found = database.execute(query, (claim.job.id, claim.token)).fetchone()
    return job_of(found[0]) if found else None


def save_job(database: sqlite3.Connection, job: Job) -> Job:
    """Write a job's status and document, and return the job."""
    database.execute("UPDATE jobs SET status = ?, document = ? WHERE id = ?", (job.status, job_document(job), job.id))
    return job


def page(
    database: sqlite3.Connection, table: str, owner: str, after: str | None, limit: int, *, newest_first: bool
) -> list[bytes]:
    """The documents of at most `limit` rows of an owner, from the one behind the id `after` on. Raises UnknownId."""
    order, sign = ("DESC", "<") if newest_first else ("ASC", ">")
    query, values = f"SELECT document FROM {table} WHERE owner = ?", [owner]  # noqa: S608  the table is a constant
    if after is not None:
        seq = database.execute(f"SELECT seq FROM {table} WHERE id = ? AND owner = ?", (after, owner)).fetchone()  # noqa: S608
        if seq is None:
            raise UnknownId("file" if table == "files" else "batch")
        query, values = f"{query} AND seq {sign} ?", [*values, seq[0]]
    return [document for (document,) in database.execute(f"{query} ORDER BY seq {order} LIMIT ?", (*values, limit))]
