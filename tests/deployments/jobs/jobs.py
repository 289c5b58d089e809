"""A ledger, a storage and a runner in a folder, with scripted models."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.api.app import DIRECT
from deployments.api.catalogue import Catalogue
from deployments.jobs.endpoints import BulkServices, endpoints_of
from deployments.jobs.records import Job, StoredFile, new_file_id, new_job_id, upload_name
from deployments.jobs.runner import Runner, names_of
from deployments.jobs.runner_ledger import RunnerLedger
from deployments.jobs.sqlite_database import SqliteDatabase
from deployments.jobs.storage import Storage
from deployments.jobs.tables import Database
from deployments.settings import JobSettings, Settings
from pipelines.cola.pipeline import Acceptability
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Similarity
from tests.deployments.api.conftest import Scripted, embedded

START_S = 1_800_000_000.0


def services(settings: JobSettings) -> BulkServices:
    pairs = Scripted(lambda pair: Similarity(len(pair[0]) / 10, len(pair[0]) > 6, False, "digest"))
    return BulkServices(
        Settings(jobs=settings),
        pairs,
        pairs,
        Scripted(lambda passage: Acceptability(0.25, False)),
        Scripted(lambda request: Answer(request[1][1:3], 1, 3, 9.0, 1.0, 1, "digest")),
        Scripted(embedded),
        Catalogue(no_models),
    )


async def no_models() -> dict[str, Any]:
    return {}


@dataclass
class Place:
    """The jobs in a folder, and their clock, which stands still. Their database is a SQLite file if none is given."""

    folder: Path
    settings: JobSettings = field(default_factory=lambda: JobSettings(rows_per_part=3, patience_s=0))
    now_s: float = START_S
    database: Database | None = None
    services: BulkServices = field(init=False)
    ledger: RunnerLedger = field(init=False)
    storage: Storage = field(init=False)

    def __post_init__(self) -> None:
        self.services = services(self.settings)
        database = self.database or SqliteDatabase(self.folder / "jobs.sqlite")
        self.ledger = RunnerLedger(database, lease_s=self.settings.lease_s, clock_s=lambda: self.now_s)
        self.storage = Storage(str(self.folder))

    def upload(self, content: bytes, owner: str = "") -> str:
        file = StoredFile(new_file_id(), owner, "batch", "rows", len(content), self.now_s, self.now_s + 10**6)
        self.storage.write(upload_name(file.id), content)
        self.ledger.add_file(file, 10**9)
        return file.id

    def submit(self, content: bytes, endpoint: str = "/generate", seconds: float = 3600) -> Job:
        file_id = self.upload(content)
        job = Job(new_job_id(), "", endpoint, file_id, "1h", self.now_s, self.now_s + seconds)
        return self.ledger.add_job(job, 100)

    def runner(self, ledger: Any = None, storage: Any = None) -> Runner:
        endpoints = endpoints_of(DIRECT, self.services)
        return Runner(ledger or self.ledger, storage or self.storage, endpoints, self.settings, 1000)

    def work(self) -> None:
        """Take steps until there is no more work."""

        async def steps() -> None:
            runner = self.runner()
            while await runner.step():
                pass

        asyncio.run(steps())

    def ended(self, job: Job) -> Job:
        self.work()
        return self.ledger.job("", job.id)

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        if file_id is None:
            return []
        names = names_of(self.storage, self.ledger.file("", file_id))
        content = b"".join(self.storage.read(name) for name in names)
        assert len(content) == self.ledger.file("", file_id).size
        return [json.loads(line) for line in content.splitlines()]


def request_lines(count: int, url: str = "/generate") -> bytes:
    rows = [
        {"custom_id": f"row {number}", "method": "POST", "url": url, "body": {"passage": f"Passage {number}"}}
        for number in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
