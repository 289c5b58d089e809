"""The tables of the ledger as SQL."""

import sqlite3
from collections.abc import Sequence

from deployments.jobs.documents import file_document, file_of, job_document, job_of
from deployments.jobs.records import FINAL, Job, Part, Scored, StoredFile, ended_s
from deployments.jobs.tables import Held
from pipelines.errors import UnknownId

PART = "number, start, end, first_line, first_row, rows"
"""The columns of `Part`."""
NEXT_PART = f"""
WITH working AS (SELECT id, seq, document,
    (SELECT COUNT(*) FROM parts INDEXED BY open_parts WHERE job = jobs.id AND done = 0 AND until_s > :now) AS in_work,
    MIN(IFNULL((SELECT number FROM parts INDEXED BY open_parts
            WHERE job = jobs.id AND done = 0 AND until_s = 0 ORDER BY rowid LIMIT 1), 1e9),
        IFNULL((SELECT MIN(number) FROM parts INDEXED BY open_parts
            WHERE job = jobs.id AND done = 0 AND until_s > 0 AND until_s <= :now), 1e9)
    ) AS next
    FROM jobs WHERE status = 'in_progress' AND expires_s > :now)
SELECT document, attempts, {PART} FROM working JOIN parts ON job = id AND number = next ORDER BY in_work, seq LIMIT 1
"""  # noqa: S608  the columns are constants
"""For each job, a look at the first part that was never claimed and at those whose leases have run out: the index
`open_parts` has both without a look at all parts."""
NEXT_JOB = """
SELECT document FROM jobs j WHERE until_s <= :now AND (
    status IN ('validating', 'cancelling', 'finalizing')
    OR (status = 'in_progress' AND (expires_s <= :now
        OR NOT EXISTS (SELECT 1 FROM parts p WHERE p.job = j.id AND p.done = 0)))
) ORDER BY seq LIMIT 1
"""
UNFINISHED = f"status NOT IN {tuple(sorted(FINAL))}"


class SqliteTables:
    """See `Tables`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def used_bytes(self) -> int:
        """See `Tables`."""
        parts = "(SELECT COALESCE(SUM(output_bytes + error_bytes), 0) FROM parts)"
        files = "(SELECT COALESCE(SUM(size), 0) FROM files WHERE json_extract(document, '$.purpose') = 'batch')"
        return int(self._connection.execute(f"SELECT {parts} + {files}").fetchone()[0])

    def file(self, file_id: str) -> StoredFile | None:
        """See `Tables`."""
        found = self._documents("SELECT document FROM files WHERE id = ?", file_id)
        return file_of(found[0]) if found else None

    def files_of(self, owner: str, after: str | None, limit: int, *, newest_first: bool) -> list[StoredFile]:
        """See `Tables`."""
        return [file_of(one) for one in self._page("files", owner, after, limit, newest_first=newest_first)]

    def expired_files(self, now_s: float) -> list[StoredFile]:
        """See `Tables`."""
        return [file_of(one) for one in self._documents("SELECT document FROM files WHERE expires_s <= ?", now_s)]

    def add_file(self, file: StoredFile) -> None:
        """See `Tables`."""
        self._connection.execute(
            "INSERT INTO files (id, owner, size, expires_s, document) VALUES (?, ?, ?, ?, ?)",
            (file.id, file.owner, file.size, file.expires_s, file_document(file)),
        )

    def delete_files(self, files: Sequence[StoredFile]) -> None:
        """See `Tables`."""
        self._connection.executemany("DELETE FROM files WHERE id = ?", [(file.id,) for file in files])

    def job(self, job_id: str) -> Job | None:
        """See `Tables`."""
        found = self._documents("SELECT document FROM jobs WHERE id = ?", job_id)
        return job_of(found[0]) if found else None

    def job_with_key(self, owner: str, key: str) -> tuple[Job, str] | None:
        """See `Tables`."""
        query = "SELECT document, fingerprint FROM jobs WHERE owner = ? AND key = ?"
        found = self._connection.execute(query, (owner, key)).fetchone()
        return (job_of(found[0]), str(found[1])) if found else None

    def jobs_of(self, owner: str, after: str | None, limit: int) -> list[Job]:
        """See `Tables`."""
        return [job_of(one) for one in self._page("jobs", owner, after, limit, newest_first=True)]

    def unfinished_jobs(self, owner: str | None = None) -> list[Job]:
        """See `Tables`."""
        query = f"SELECT document FROM jobs WHERE {UNFINISHED}"  # noqa: S608  a constant
        if owner is None:
            return [job_of(one) for one in self._documents(query)]
        return [job_of(one) for one in self._documents(f"{query} AND owner = ?", owner)]

    def ended_jobs(self, until_s: float) -> list[str]:
        """See `Tables`."""
        query = f"SELECT document FROM jobs WHERE NOT ({UNFINISHED}) ORDER BY seq"  # noqa: S608  a constant
        jobs = [job_of(one) for one in self._documents(query)]
        return [job.id for job in jobs if (at_s := ended_s(job)) is not None and at_s <= until_s]

    def add_job(self, job: Job, key: str | None, fingerprint: str) -> None:
        """See `Tables`."""
        self._connection.execute(
            """INSERT INTO jobs (id, owner, status, expires_s, key, fingerprint, document)
            VALUES (?, ?, ?, ?, ?, ?, ?)""",
            (job.id, job.owner, job.status, job.expires_s, key, fingerprint, job_document(job)),
        )

    def save_job(self, job: Job) -> None:
        """See `Tables`."""
        query = "UPDATE jobs SET status = ?, document = ? WHERE id = ?"
        self._connection.execute(query, (job.status, job_document(job), job.id))

    def delete_job(self, job_id: str) -> None:
        """See `Tables`."""
        self._connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
        self._connection.execute("DELETE FROM parts WHERE job = ?", (job_id,))

    def add_parts(self, job_id: str, parts: Sequence[Part]) -> None:
        """See `Tables`."""
        self._connection.executemany(
            f"INSERT INTO parts (job, {PART}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  constants
            [(job_id, one.number, one.start, one.end, one.first_line, one.first_row, one.rows) for one in parts],
        )

    def done_parts(self, job_id: str, first: int) -> list[tuple[Part, Scored]]:
        """See `Tables`."""
        query = f"""SELECT {PART}, completed, failed, output_bytes, error_bytes, token FROM parts
            WHERE job = ? AND done AND number >= ? ORDER BY number"""  # noqa: S608  the columns are constants
        return [(Part(*row[:6]), Scored(*row[6:])) for row in self._connection.execute(query, (job_id, first))]

    def open_parts(self, job_id: str) -> list[Part]:
        """See `Tables`."""
        query = f"SELECT {PART} FROM parts WHERE job = ? AND NOT done ORDER BY number"  # noqa: S608  constants
        return [Part(*row) for row in self._connection.execute(query, (job_id,))]

    def complete(self, held: Held, token: str, scored: Scored) -> None:
        """See `Tables`."""
        self._connection.execute(
            """UPDATE parts SET done = 1, token = ?, completed = ?, failed = ?, output_bytes = ?, error_bytes = ?
            WHERE job = ? AND number = ?""",
            (token, scored.completed, scored.failed, scored.output_bytes, scored.error_bytes, *held),
        )

    def next_part(self, now_s: float) -> tuple[Job, Part, int] | None:
        """See `Tables`."""
        row = self._connection.execute(NEXT_PART, {"now": now_s}).fetchone()
        return (job_of(row[0]), Part(*row[2:]), int(row[1])) if row else None

    def next_job(self, now_s: float) -> Job | None:
        """See `Tables`."""
        row = self._connection.execute(NEXT_JOB, {"now": now_s}).fetchone()
        return job_of(row[0]) if row else None

    def claim(self, held: Held, token: str, until_s: float) -> None:
        """See `Tables`."""
        job_id, number = held
        if number is None:
            query = "UPDATE jobs SET token = ?, until_s = ? WHERE id = ?"
            self._connection.execute(query, (token, until_s, job_id))
        else:
            query = "UPDATE parts SET token = ?, until_s = ?, attempts = attempts + 1 WHERE job = ? AND number = ?"
            self._connection.execute(query, (token, until_s, job_id, number))

    def claimed(self, token: str) -> Held | None:
        """See `Tables`."""
        query = """SELECT job, number FROM parts WHERE token = :token AND NOT done
            UNION ALL SELECT id, NULL FROM jobs WHERE token = :token"""
        found = self._connection.execute(query, {"token": token}).fetchone()
        return (found[0], found[1]) if found else None

    def extend(self, held: Held, until_s: float) -> None:
        """See `Tables`."""
        job_id, number = held
        if number is None:
            self._connection.execute("UPDATE jobs SET until_s = ? WHERE id = ?", (until_s, job_id))
        else:
            query = "UPDATE parts SET until_s = ? WHERE job = ? AND number = ?"
            self._connection.execute(query, (until_s, job_id, number))

    def forget_claim(self, job_id: str) -> None:
        """See `Tables`."""
        self._connection.execute("UPDATE jobs SET token = NULL, until_s = 0 WHERE id = ?", (job_id,))

    def _documents(self, query: str, *values: str | float) -> list[bytes]:
        return [document for (document,) in self._connection.execute(query, values)]

    def _page(self, table: str, owner: str, after: str | None, limit: int, *, newest_first: bool) -> list[bytes]:
        order, sign = ("DESC", "<") if newest_first else ("ASC", ">")
        query, values = f"SELECT document FROM {table} WHERE owner = ?", [owner]  # noqa: S608  the table is a constant
        if after is not None:
            place = f"SELECT seq FROM {table} WHERE id = ? AND owner = ?"  # noqa: S608  the table is a constant
            seq = self._connection.execute(place, (after, owner)).fetchone()
            if seq is None:
                raise UnknownId("file" if table == "files" else "batch")
            query, values = f"{query} AND seq {sign} ?", [*values, seq[0]]
        return self._documents(f"{query} ORDER BY seq {order} LIMIT ?", *values, limit)
