"""The tables of the ledger in a SQLite file, which processes of one machine open at the same time."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from deployments.jobs.sqlite_tables import SqliteTables
from deployments.jobs.tables import Tables
from pipelines.errors import StorageFailed, StorageFull

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
CREATE INDEX IF NOT EXISTS part_tokens ON parts (token) WHERE token IS NOT NULL;
"""
T = TypeVar("T")


class SqliteDatabase:
    """See `Database`.

    path  the file, which is made with its folder if there is none
    """

    def __init__(self, path: Path) -> None:
        self._path, self._ready = path, False

    def run(self, body: Callable[[Tables], T]) -> T:
        """See `Database.run`. Transactions wait for each other, for `BUSY_S` at most."""
        with sqlite_errors():
            self._make()
            with closing(sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")  # a job that was accepted survives a power failure
                connection.execute("BEGIN IMMEDIATE")
                try:
                    result = body(SqliteTables(connection))
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
                return result

    def _make(self) -> None:
        if not self._ready:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=BUSY_S)) as connection:
                connection.executescript(SCHEMA)
            self._path.chmod(0o600)
            self._ready = True


@contextmanager
def sqlite_errors() -> Iterator[None]:
    """Convert errors of SQLite and of the disk to StorageFull or StorageFailed, without their messages."""
    try:
        yield
    except sqlite3.Error as error:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        raise (StorageFull() if full else StorageFailed(type(error).__name__)) from None
    except OSError as error:
        raise StorageFailed(type(error).__name__) from None
