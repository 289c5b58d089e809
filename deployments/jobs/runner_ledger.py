"""Who works on which job: the side of the ledger that job runners use.

A runner claims a part or a job for the time of a lease, and renews its claims. Whoever finds a lease that has run out
takes it over, with a new token. A result is recorded only under the token of the present claim, so each part has
exactly one result.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from deployments.jobs.database import PART, claimed_job, insert_file, job_with, save_job
from deployments.jobs.documents import file_of, job_of
from deployments.jobs.ledger import Ledger
from deployments.jobs.records import FINAL, Claim, Ending, Job, Part, Scored, Source, StoredFile

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


class RunnerLedger(Ledger):
    """See the module and `Ledger`. A lease lasts `lease_s` seconds."""

    def __init__(self, path: Path, *, lease_s: float, clock_s: Callable[[], float] = time.time) -> None:
        super().__init__(path, clock_s=clock_s)
        self._lease_s = lease_s

    def claim_part(self) -> Claim | None:
        """Claim a part that nobody works on; None if there is none."""
        now_s, token = self.now_s(), secrets.token_hex(8)
        with self._database.transaction() as database:
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
        with self._database.transaction() as database:
            changed = database.execute(
                """UPDATE parts SET done = 1, completed = ?, failed = ?, output_bytes = ?, error_bytes = ?
                WHERE job = ? AND number = ? AND NOT done AND token = ?
                AND EXISTS (SELECT 1 FROM jobs WHERE id = parts.job AND status = 'in_progress')""",
                (scored.completed, scored.failed, scored.output_bytes, scored.error_bytes, claim.job.id,
                 claim.part.number, claim.token),
            ).rowcount  # fmt: skip
            if changed:
                job = job_with(database, claim.job.id)
                counted = replace(job, completed=job.completed + scored.completed, failed=job.failed + scored.failed)
                save_job(database, counted)
            return bool(changed)

    def claim_job(self) -> Claim | None:
        """Claim a job that is to be validated or ended, and note how it will end; None if there is none."""
        now_s, token = self.now_s(), secrets.token_hex(8)
        with self._database.transaction() as database:
            row = database.execute(NEXT_JOB, {"now": now_s}).fetchone()
            if row is None:
                return None
            job = save_job(database, self._ending(job_of(row[1])))
            database.execute(
                "UPDATE jobs SET token = ?, until_s = ? WHERE seq = ?", (token, now_s + self._lease_s, row[0])
            )
            return Claim(job, token)

    def begin_job(self, claim: Claim, source: Source, parts: Sequence[Part]) -> bool:
        """Let the parts of a validated job be claimed. Returns False if the claim is lost or the job was cancelled."""
        with self._database.transaction() as database:
            job = claimed_job(database, claim)
            if job is None or job.status != "validating":
                return False
            database.executemany(
                f"INSERT INTO parts (job, {PART}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  constants
                [(job.id, one.number, one.start, one.end, one.first_line, one.first_row, one.rows) for one in parts],
            )
            begun = replace(job, source=source, total=sum(part.rows for part in parts))
            save_job(database, self._with_status(begun, "in_progress"))
            database.execute("UPDATE jobs SET token = NULL, until_s = 0 WHERE id = ?", (job.id,))
            return True

    def end_job(self, claim: Claim, ended: Job, files: Sequence[StoredFile] = ()) -> bool:
        """Record the end of a job and its files of results. Returns False if the claim is lost or it was cancelled."""
        with self._database.transaction() as database:
            job = claimed_job(database, claim)
            if job is None or job.status != claim.job.status:
                return False
            for file in files:
                insert_file(database, file)
            save_job(database, self._with_status(ended, ended.status))
            return True

    def renew(self, tokens: Sequence[str]) -> set[str]:
        """Renew claims. Returns those that are still held; others are lost, or their jobs are ending."""
        until_s, held = self.now_s() + self._lease_s, set()
        with self._database.transaction() as database:
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
        with self._database.transaction() as database:
            database.execute("UPDATE parts SET until_s = 0 WHERE token = ?", (claim.token,))
            database.execute("UPDATE jobs SET until_s = 0 WHERE token = ?", (claim.token,))

    def remove_expired(self, keep_s: float) -> tuple[list[StoredFile], list[str]]:
        """Forget expired files, and jobs that ended `keep_s` seconds ago. Returns both, to delete their bytes."""
        now_s = self.now_s()
        with self._database.transaction() as database:
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
