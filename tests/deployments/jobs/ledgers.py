"""Ledgers with jobs in progress, for tests of the databases that keep them."""

from dataclasses import dataclass, field

from deployments.jobs.records import Claim, Job, Part, Scored, Source, StoredFile, new_file_id, new_job_id
from deployments.jobs.runner_ledger import RunnerLedger
from deployments.jobs.tables import Database

START_S = 1_800_000_000.0
LEASE_S = 15.0
ROWS = 10  # of a part


@dataclass
class Clock:
    now_s: float = START_S

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Books:
    """A ledger whose clock stands still."""

    database: Database
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.ledger = RunnerLedger(self.database, lease_s=LEASE_S, clock_s=self.clock)

    def file(self, owner: str = "", size: int = 100) -> StoredFile:
        now_s = self.clock.now_s
        file = StoredFile(new_file_id(), owner, "batch", "rows", size, now_s, now_s + 10**6)
        self.ledger.add_file(file, 10**9)
        return file

    def job(self, owner: str = "", seconds: float = 3600) -> Job:
        job = new_job(self.file(owner), self.clock.now_s, seconds)
        return self.ledger.add_job(job, 100)

    def begun(self, parts: int) -> Job:
        """A job in progress. No other job may wait for its validation."""
        job = self.job()
        claim = self.ledger.claim_job()
        assert claim is not None
        assert self.ledger.begin_job(claim, Source("jsonl", "name"), parts_of(parts))
        return self.ledger.job("", job.id)

    def part(self) -> Claim:
        claim = self.ledger.claim_part()
        assert claim is not None
        assert claim.part is not None
        return claim


def new_job(file: StoredFile, now_s: float, seconds: float = 3600) -> Job:
    return Job(new_job_id(), file.owner, "/generate", file.id, "1h", now_s, now_s + seconds)


def parts_of(count: int) -> list[Part]:
    return [Part(n, n * 1000, (n + 1) * 1000, n * ROWS + 1, n * ROWS, ROWS) for n in range(count)]


def scored(claim: Claim) -> Scored:
    """Nine answers and one error."""
    return Scored(ROWS - 1, 1, 900, 100, claim.token)
