"""Where the settings put the files of jobs, and the ledger of them."""

import os
from pathlib import Path

from deployments.jobs.runner_ledger import RunnerLedger
from deployments.jobs.sqlite_database import SqliteDatabase
from deployments.jobs.storage import Storage
from deployments.jobs.tables import Database
from deployments.settings import JobSettings
from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import ConfigError, install_hint

PASSWORD_VARIABLE = "MUNJANG_REDIS_PASSWORD"  # noqa: S105  a name


def storage_of(settings: JobSettings) -> Storage:
    """The storage. A relative path starts at the root of the repository."""
    return Storage(settings.folder if "://" in settings.folder else str(ROOT / Path(settings.folder).expanduser()))


def ledger_of(settings: JobSettings) -> RunnerLedger:
    """The ledger. Raises ConfigError, see `database_of`."""
    return RunnerLedger(database_of(settings), lease_s=settings.lease_s)


def database_of(settings: JobSettings) -> Database:
    """The database of the ledger, to which no connection is made yet.

    Raises ConfigError if the folder is in an object store and the settings name no database, for a URL that is not one
    of Redis or has a password, and if the packages of the extra `redis` are missing.
    """
    if settings.database is None and "://" in settings.folder:
        raise ConfigError("jobs.database must name a file on a disk, or Redis, where jobs.folder is a URL")
    place = settings.database or f"{settings.folder}/jobs.sqlite"
    if "://" not in place:
        return SqliteDatabase(ROOT / Path(place).expanduser())
    try:
        from deployments.jobs.redis_database import RedisDatabase
    except ImportError as error:
        raise ConfigError(f"jobs.database is in Redis, which needs its client: {install_hint('redis')}") from error
    return RedisDatabase(place, os.environ.get(PASSWORD_VARIABLE) or None)
