"""What the ledger is made of, whatever keeps it: files, jobs, parts and claims, read and written in transactions."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from deployments.jobs.records import Job, Part, Scored, StoredFile

Held = tuple[str, int | None]
"""What a claim is on: the id of a job, and the number of its part; None where it is on the whole job."""


class Tables(Protocol):
    """The tables within one transaction.

    What is written may be read only in the next transaction, so the methods of the ledger read first and then write.
    """

    # Files.

    def used_bytes(self) -> int:
        """The bytes of all uploaded files and all results of parts."""

    def file(self, file_id: str) -> StoredFile | None:
        """A file; None if there is none with this id."""

    def files_of(self, owner: str, after: str | None, limit: int, *, newest_first: bool) -> list[StoredFile]:
        """At most `limit` files of an owner, from the one behind the id `after` on. Raises UnknownId."""

    def expired_files(self, now_s: float) -> list[StoredFile]:
        """The files whose time is over."""

    def add_file(self, file: StoredFile) -> None:
        """Add a file."""

    def delete_files(self, files: Sequence[StoredFile]) -> None:
        """Remove files."""

    # Jobs.

    def job(self, job_id: str) -> Job | None:
        """A job; None if there is none with this id."""

    def job_with_key(self, owner: str, key: str) -> tuple[Job, str] | None:
        """The job that an owner has added with a key, and its fingerprint; None if there is none."""

    def jobs_of(self, owner: str, after: str | None, limit: int) -> list[Job]:
        """At most `limit` jobs of an owner, newest first, from the one behind the id `after` on. Raises UnknownId."""

    def unfinished_jobs(self, owner: str | None = None) -> list[Job]:
        """The jobs whose status is not final: all, or those of an owner."""

    def ended_jobs(self, until_s: float) -> list[str]:
        """The ids of the jobs that ended at this time or earlier."""

    def add_job(self, job: Job, key: str | None, fingerprint: str) -> None:
        """Add a job."""

    def save_job(self, job: Job) -> None:
        """Replace a job by a later state of it."""

    def delete_job(self, job_id: str) -> None:
        """Remove a job with its parts and claims."""

    # Parts.

    def add_parts(self, job_id: str, parts: Sequence[Part]) -> None:
        """Add the parts of a job that has none."""

    def done_parts(self, job_id: str, first: int) -> list[tuple[Part, Scored]]:
        """The parts that are done, in order, from the one with the number `first` on."""

    def open_parts(self, job_id: str) -> list[Part]:
        """The parts that are not done, in order."""

    def complete(self, held: Held, token: str, scored: Scored) -> None:
        """Note what became of a claimed part. It is done then, and its claim is gone."""

    # Claims.

    def next_part(self, now_s: float) -> tuple[Job, Part, int] | None:
        """The part that is to be claimed next, with its job and how often it was claimed; None if there is none.

        It belongs to a job in progress whose window is not over, and no lease on it lasts. Jobs with the fewest parts
        in work come first, then older ones, and of a job the part with the lowest number.
        """

    def next_job(self, now_s: float) -> Job | None:
        """The oldest job without a lasting lease that is to be validated or to be ended, because it was cancelled, its
        window is over or all its parts are done; None if there is none.
        """

    def claim(self, held: Held, token: str, until_s: float) -> None:
        """Put a claim on a part or a job, in place of the one that was on it."""

    def claimed(self, token: str) -> Held | None:
        """What a claim is on; None if it was replaced by another one, or its part is done."""

    def extend(self, held: Held, until_s: float) -> None:
        """Let the lease on a part or job end at another time."""

    def forget_claim(self, job_id: str) -> None:
        """Remove the claim on a whole job."""


T = TypeVar("T")
P = ParamSpec("P")


class Database(Protocol):
    """Keeps the tables for processes that open it at the same time."""

    def run(self, body: Callable[[Tables], T]) -> T:
        """Run a function in a transaction, or again in another one if somebody else changed what it had read.

        An exception of the function undoes what it wrote. Raises StorageFull if there is no room, and StorageFailed for
        other faults of the database; what was written before such a fault is there wholly or not at all.
        """


class _Owner(Protocol):
    @property
    def database(self) -> Database: ...


S = TypeVar("S", bound=_Owner)


def transaction(method: Callable[Concatenate[S, Tables, P], T]) -> Callable[Concatenate[S, P], T]:
    """Run a method in a transaction of its object's `database`; its first argument are the tables."""

    @wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.database.run(lambda tables: method(self, tables, *args, **kwargs))

    return run
