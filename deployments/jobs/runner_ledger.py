"""Who works on which job: the side of the ledger that job runners use.

A runner claims a part or a job for the time of a lease, and renews its claims. Whoever finds a lease that has run out
takes it over, with a new token. A result is recorded only under the token of the present claim, so each part has
exactly one result.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from deployments.jobs.ledger import Ledger
from deployments.jobs.records import Claim, Ending, Job, Part, Scored, Source, StoredFile
from deployments.jobs.tables import Database, Tables, transaction


class RunnerLedger(Ledger):
    """See the module and `Ledger`. A lease lasts `lease_s` seconds."""

    def __init__(self, database: Database, *, lease_s: float, clock_s: Callable[[], float] = time.time) -> None:
        super().__init__(database, clock_s=clock_s)
        self._lease_s = lease_s

    @transaction
    def claim_part(self, tables: Tables) -> Claim | None:
        """Claim a part that nobody works on; None if there is none."""
        now_s = self.now_s()
        found = tables.next_part(now_s)
        if found is None:
            return None
        job, part, attempts = found
        claim = Claim(job, secrets.token_hex(8), part, attempts + 1)
        tables.claim((job.id, part.number), claim.token, now_s + self._lease_s)
        return claim

    @transaction
    def complete_part(self, tables: Tables, claim: Claim, scored: Scored) -> bool:
        """Record what became of a part. Returns False if the claim is lost or the job is ending."""
        if claim.part is None:
            raise ValueError("the claim is on a whole job")
        held = (claim.job.id, claim.part.number)
        job = tables.job(claim.job.id) if tables.claimed(claim.token) == held else None
        if job is None or job.status != "in_progress":
            return False
        tables.complete(held, claim.token, scored)
        tables.save_job(replace(job, completed=job.completed + scored.completed, failed=job.failed + scored.failed))
        return True

    @transaction
    def claim_job(self, tables: Tables) -> Claim | None:
        """Claim a job that is to be validated or ended, and note how it will end; None if there is none."""
        now_s = self.now_s()
        found = tables.next_job(now_s)
        if found is None:
            return None
        claim = Claim(self._ending(found), secrets.token_hex(8))
        tables.save_job(claim.job)
        tables.claim((found.id, None), claim.token, now_s + self._lease_s)
        return claim

    @transaction
    def begin_job(self, tables: Tables, claim: Claim, source: Source, parts: Sequence[Part]) -> bool:
        """Let the parts of a validated job be claimed. Returns False if the claim is lost or the job was cancelled."""
        job = claimed_job(tables, claim)
        if job is None or job.status != "validating":
            return False
        begun = replace(job, source=source, total=sum(part.rows for part in parts))
        tables.save_job(self._with_status(begun, "in_progress"))
        tables.add_parts(job.id, parts)
        tables.forget_claim(job.id)
        return True

    @transaction
    def end_job(self, tables: Tables, claim: Claim, ended: Job, files: Sequence[StoredFile] = ()) -> bool:
        """Record the end of a job and its files of results. Returns False if the claim is lost or it was cancelled."""
        job = claimed_job(tables, claim)
        if job is None or job.status != claim.job.status:
            return False
        for file in files:
            tables.add_file(file)
        tables.save_job(self._with_status(ended, ended.status))
        return True

    @transaction
    def renew(self, tables: Tables, tokens: Sequence[str]) -> set[str]:
        """Renew claims. Returns those that are still held; others are lost, or their jobs are ending."""
        until_s, renewed = self.now_s() + self._lease_s, set()
        for token in tokens:
            held = tables.claimed(token)
            if held and _may_go_on(tables, held):
                tables.extend(held, until_s)
                renewed.add(token)
        return renewed

    @transaction
    def release(self, tables: Tables, claim: Claim) -> None:
        """Give a claim up before its lease runs out."""
        if held := tables.claimed(claim.token):
            tables.extend(held, 0)

    @transaction
    def remove_expired(self, tables: Tables, keep_s: float) -> tuple[list[StoredFile], list[str]]:
        """Forget expired files, and jobs that ended `keep_s` seconds ago. Returns both, to delete their bytes."""
        now_s = self.now_s()
        read = {job.input_file_id for job in tables.unfinished_jobs()}
        files = [file for file in tables.expired_files(now_s) if file.id not in read]
        old = tables.ended_jobs(now_s - keep_s)
        tables.delete_files(files)
        for job_id in old:
            tables.delete_job(job_id)
        return files, old

    def _ending(self, job: Job) -> Job:
        if job.status == "cancelling":
            return replace(job, ending="cancelled")
        ending: Ending = "expired" if job.expires_s <= self.now_s() else "completed"
        if job.status == "in_progress" or (job.status == "validating" and ending == "expired"):
            return replace(self._with_status(job, "finalizing"), ending=ending)
        return job


def claimed_job(tables: Tables, claim: Claim) -> Job | None:
    """The job that a claim is on as a whole; None if the claim is lost."""
    return tables.job(claim.job.id) if tables.claimed(claim.token) == (claim.job.id, None) else None


def _may_go_on(tables: Tables, held: tuple[str, int | None]) -> bool:
    """Whether what a claim is on is still wanted: the parts of an ending job are not."""
    job_id, number = held
    job = tables.job(job_id)
    return job is not None and (number is None or job.status == "in_progress")
