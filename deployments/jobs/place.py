"""Where the settings put the files of jobs, and the ledger of them."""

from pathlib import Path

from deployments.jobs.runner_ledger import RunnerLedger
from deployments.jobs.sqlite_database import SqliteDatabase
from deployments.jobs.storage import Storage
from deployments.settings import JobSettings
from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import ConfigError


def storage_of(settings: JobSettings) -> Storage:
    """The storage. A relative path starts at the root of the repository."""
    return Storage(settings.folder if "://" in settings.folder else str(ROOT / Path(settings.folder).expanduser()))


def ledger_of(settings: JobSettings) -> RunnerLedger:
    """The ledger. Raises ConfigError if the folder is in an object store and the settings name no database."""
    if settings.database is None and "://" in settings.folder:
        raise ConfigError("jobs.database must name a file on a disk where jobs.folder is a URL")
    path = settings.database or f"{settings.folder}/jobs.sqlite"
    return RunnerLedger(SqliteDatabase(ROOT / Path(path).expanduser()), lease_s=settings.lease_s)
