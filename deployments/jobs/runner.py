"""Work on jobs: check their files, score their parts, and write down how they end.

A runner may be killed at any time. Whatever it writes has a name of its own until the ledger knows of it, so another
runner, or the next one, begins the step anew and nothing is lost or there twice.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from anyio import to_thread

from deployments.calls.without_messages import log_failure
from deployments.jobs.endpoints import Answered, Endpoint
from deployments.jobs.records import (
    Claim,
    Job,
    JobFault,
    Part,
    Purpose,
    Scored,
    StoredFile,
    errors_name,
    manifest_name,
    new_file_id,
    output_name,
    upload_name,
)
from deployments.jobs.rows import JobRefused, RowLimits, rows_of
from deployments.jobs.runner_ledger import RunnerLedger
from deployments.jobs.storage import Storage
from deployments.settings import JobSettings
from pipelines.errors import UnavailableError

logger = logging.getLogger("ray.serve")

IDLE_S = 1.0
FAULT_S = 5.0
CLEAN_EVERY_S = 60.0
SWEEP_AFTER_S = 86_400.0
MAX_ATTEMPTS = 5
UNFINISHED = 999_999  # the number of the errors of rows that were not answered, behind those of all parts
WHY = {
    "batch_expired": "This request could not be executed before the completion window expired.",
    "batch_cancelled": "This request was not executed because the batch was cancelled.",
    "part_failed": "The job runner stopped on each try of the part that has this row.",
}


class Runner:
    """See the module. `endpoints` are those of `endpoints_of`; `line_bytes` are the most of one line of a file.

    steps  how many steps it has begun
    """

    def __init__(
        self,
        ledger: RunnerLedger,
        storage: Storage,
        endpoints: Mapping[str, Endpoint],
        settings: JobSettings,
        line_bytes: int,
    ) -> None:
        self._ledger, self._storage, self._endpoints, self._settings = ledger, storage, endpoints, settings
        self._limits = RowLimits(line_bytes, settings.max_rows, settings.rows_per_part)
        self._working: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self.steps = 0

    def wake(self) -> None:
        """Look for work now."""
        self._woken.set()

    async def run(self) -> None:
        """Work until the task is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self._renew, self._settings.lease_s / 3))
            group.create_task(self._repeat(self._clean, CLEAN_EVERY_S))
            for _ in range(self._settings.parts_at_once):
                group.create_task(self._work())

    async def step(self) -> bool:
        """Do one piece of work: a step of a job or a part. Returns False if there is none."""
        claim = await to_thread.run_sync(self._ledger.claim_job) or await to_thread.run_sync(self._ledger.claim_part)
        if claim is None:
            return False
        self.steps += 1
        work = self._part(claim) if claim.part else to_thread.run_sync(self._advance, claim)
        task = asyncio.ensure_future(work)
        self._working[claim.token] = task  # `_renew` cancels it if the claim is lost
        try:
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()):
                await to_thread.run_sync(self._give_up, claim)
                raise error
        finally:
            task.cancel()
            del self._working[claim.token]
        return True

    def _give_up(self, claim: Claim) -> None:
        with suppress(UnavailableError):  # if the ledger is out of reach, the lease runs out
            self._ledger.release(claim)

    async def _work(self) -> None:
        """Take one step after the other. A full disk or another fault delays work, but ends neither it nor a job."""
        while True:
            try:
                if await self.step():
                    continue
                pause_s = IDLE_S
            except UnavailableError as error:
                logger.warning("jobs wait: %s", error)
                pause_s = FAULT_S
            except Exception as error:
                log_failure("a step of a job", error)
                pause_s = FAULT_S
            self._woken.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause_s)

    async def _repeat(self, action: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            try:
                await action()
            except UnavailableError as error:
                logger.warning("jobs wait: %s", error)
            except Exception as error:
                log_failure("the upkeep of jobs", error)
            await asyncio.sleep(every_s)

    async def _renew(self) -> None:
        tokens = list(self._working)
        held = await to_thread.run_sync(self._ledger.renew, tokens) if tokens else set()
        for token in set(tokens) - held:
            if task := self._working.get(token):
                task.cancel()

    async def _clean(self) -> None:
        files, jobs = await to_thread.run_sync(self._ledger.remove_expired, self._settings.expires_after_s)
        for file in files:
            await to_thread.run_sync(delete_content, self._storage, file)
        for job in jobs:
            await to_thread.run_sync(self._storage.delete, f"results/{job}")
        await to_thread.run_sync(self._storage.sweep, "", SWEEP_AFTER_S)

    async def _part(self, claim: Claim) -> None:
        """Answer the rows of a part and record the answers. After `MAX_ATTEMPTS` each row gets an error."""
        part, job, endpoint = claim.part, claim.job, self._endpoints[claim.job.endpoint]
        if part is None or job.source is None:
            raise ValueError("the claim is on no part")
        rows = await to_thread.run_sync(rows_of, self._storage, job.source, part)
        if claim.attempts > MAX_ATTEMPTS:
            why = WHY["part_failed"]
            answers = [endpoint.unanswered(job, *row, "part_failed", why) for row in rows]
        else:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(endpoint.answer(job, *row)) for row in rows]
            answers = [task.result() for task in tasks]
        await to_thread.run_sync(self._record, claim, part, answers)

    def _record(self, claim: Claim, part: Part, answers: list[Answered]) -> None:
        lines = {kind: [one.line for one in answers if one.succeeded is kind] for kind in (True, False)}
        names = {True: output_name, False: errors_name}
        written = {}
        for kind, name_of in names.items():
            content = b"".join(lines[kind])
            written[kind] = len(content)
            if content:
                self._storage.write(name_of(claim.job.id, part.number, claim.token), content)
        scored = Scored(len(lines[True]), len(lines[False]), written[True], written[False])
        if not self._ledger.complete_part(claim, scored):
            for name_of in names.values():
                self._storage.delete(name_of(claim.job.id, part.number, claim.token))

    def _advance(self, claim: Claim) -> None:
        """Check the file of a job, or write down the end of a job."""
        if claim.job.status == "validating":
            self._validate(claim)
        else:
            self._end(claim)

    def _validate(self, claim: Claim) -> None:
        job, endpoint = claim.job, self._endpoints.get(claim.job.endpoint)
        try:
            if endpoint is None:
                raise JobRefused(JobFault("invalid_endpoint", "this server no longer has the endpoint"))
            source, parts = endpoint.scan(self._storage, upload_name(job.input_file_id), self._limits)
        except JobRefused as refused:
            self._ledger.end_job(claim, replace(job, status="failed", faults=refused.faults))
        else:
            self._ledger.begin_job(claim, source, parts)

    def _end(self, claim: Claim) -> None:
        """Make the files of results: manifests of the files of parts, and errors of the rows that were not answered."""
        job, done = claim.job, self._ledger.done_parts(claim.job.id)
        outputs = [
            (output_name(job.id, part.number, scored.token), scored.output_bytes)
            for part, scored in done
            if scored.output_bytes
        ]
        errors = [
            (errors_name(job.id, part.number, scored.token), scored.error_bytes)
            for part, scored in done
            if scored.error_bytes
        ]
        unanswered = self._ledger.open_parts(job.id)
        if unanswered:
            errors.append(self._write_unanswered(claim, unanswered))
        output, error = self._results(job, "output", outputs), self._results(job, "errors", errors)
        ended = replace(
            job,
            status=job.ending or "completed",
            failed=job.failed + sum(part.rows for part in unanswered),
            output_file_id=output.id if output else None,
            error_file_id=error.id if error else None,
        )
        if self._ledger.end_job(claim, ended, [file for file in (output, error) if file]):
            logger.info("job %s is %s: %d rows answered, %d not", job.id, ended.status, ended.completed, ended.failed)

    def _results(self, job: Job, kind: str, pieces: list[tuple[str, int]]) -> StoredFile | None:
        if not pieces:
            return None
        now_s, size = self._ledger.now_s(), sum(size for _, size in pieces)
        purpose: Purpose = "batch_output"
        file = StoredFile(
            new_file_id(),
            job.owner,
            purpose,
            f"{job.id}_{kind}.jsonl",
            size,
            now_s,
            now_s + self._settings.expires_after_s,
        )
        self._storage.write_manifest(manifest_name(file.id), pieces)
        return file

    def _write_unanswered(self, claim: Claim, parts: Iterable[Part]) -> tuple[str, int]:
        name = errors_name(claim.job.id, UNFINISHED, claim.token)
        file = self._storage.new(name)
        try:
            for line in self._unanswered(claim.job, parts):
                file.write(line)
            file.commit()
        except BaseException:
            file.discard()
            raise
        return name, file.size

    def _unanswered(self, job: Job, parts: Iterable[Part]) -> Iterator[bytes]:
        endpoint, code = self._endpoints[job.endpoint], f"batch_{job.ending}"
        if job.source is None:
            return
        for part in parts:
            for row in rows_of(self._storage, job.source, part):
                yield endpoint.unanswered(job, *row, code, WHY[code]).line


def names_of(storage: Storage, file: StoredFile) -> list[str]:
    """The names in the storage of what a file consists of, in order."""
    return [upload_name(file.id)] if file.purpose == "batch" else storage.pieces(manifest_name(file.id))


def delete_content(storage: Storage, file: StoredFile) -> None:
    """Delete the bytes of a file that the ledger no longer knows. The parts of results stay until their job is old."""
    if file.purpose == "batch":
        storage.delete(upload_name(file.id))
        storage.delete(f"{upload_name(file.id)}.rows")
    else:
        for name in names_of(storage, file):
            storage.delete(name)
        storage.delete(manifest_name(file.id))
