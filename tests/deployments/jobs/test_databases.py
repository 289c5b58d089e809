"""What every database of the ledger must keep to, whoever uses it at the same time."""

import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.jobs.records import Claim
from deployments.jobs.runner_ledger import RunnerLedger
from deployments.jobs.tables import Database
from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import Conflict, Overloaded, StorageFull, UnknownId
from tests.deployments.jobs.conftest import MakeDatabase
from tests.deployments.jobs.ledgers import LEASE_S, ROWS, Books, new_job, scored


@pytest.fixture
def database(make_database: MakeDatabase, tmp_path: Path) -> Database:
    return make_database(tmp_path)


@pytest.fixture
def books(database: Database) -> Books:
    return Books(database)


def test_a_page_of_files_begins_behind_the_one_that_it_names(books: Books) -> None:
    names = [books.file("a").id for _ in range(5)]
    books.file("b")
    assert [file.id for file in books.ledger.files("a", names[3], 2)] == [names[2], names[1]]
    assert [file.id for file in books.ledger.files("a", names[1], 9, newest_first=False)] == names[2:]
    assert [file.id for file in books.ledger.files("a", None, 9)] == names[::-1]
    with pytest.raises(UnknownId):
        books.ledger.files("b", names[0], 9)


def test_files_and_jobs_of_another_owner_are_unknown(books: Books) -> None:
    job = books.job("a")
    for look in (books.ledger.job, books.ledger.cancel):
        with pytest.raises(UnknownId):
            look("b", job.id)
    with pytest.raises(UnknownId):
        books.ledger.file("b", job.input_file_id)
    with pytest.raises(UnknownId):
        books.ledger.add_job(replace(job, owner="b"), 100)


def test_uploads_and_results_share_one_quota(books: Books) -> None:
    books.begun(2)
    claim = books.part()
    assert books.ledger.complete_part(claim, scored(claim))
    assert books.ledger.used_bytes() == 1100
    file = books.file(size=50)
    with pytest.raises(StorageFull):
        books.ledger.add_file(replace(file, id="other"), 1199)
    books.ledger.delete_file("", file.id)
    assert books.ledger.used_bytes() == 1100


def test_a_key_makes_one_job(books: Books) -> None:
    file = books.file()
    first = books.ledger.add_job(new_job(file, 0), 100, "key", "print")
    assert books.ledger.add_job(new_job(file, 0), 100, "key", "print") == first
    with pytest.raises(Conflict):
        books.ledger.add_job(new_job(file, 0), 100, "key", "other")
    assert books.ledger.jobs("", None, 10) == [first]


def test_an_owner_has_so_many_unfinished_jobs_at_most(books: Books) -> None:
    books.job("a")
    books.job("b")
    with pytest.raises(Overloaded):
        books.ledger.add_job(new_job(books.file("a"), 0), 1)


def test_a_file_that_a_job_reads_stays(books: Books) -> None:
    job = books.job()
    with pytest.raises(Conflict):
        books.ledger.delete_file("", job.input_file_id)
    books.clock.now_s += 2 * 10**6
    assert books.ledger.remove_expired(10**9) == ([], [])


def test_a_lease_is_renewed_until_it_has_run_out(books: Books) -> None:
    books.begun(2)
    claim = books.part()
    books.clock.now_s += LEASE_S - 1
    assert books.ledger.renew([claim.token, "unknown"]) == {claim.token}
    books.clock.now_s += LEASE_S - 1
    assert books.part().part != claim.part
    assert books.ledger.claim_part() is None
    books.clock.now_s += 1
    later = books.part()
    assert (later.part, later.attempts) == (claim.part, 2)
    assert books.ledger.renew([claim.token, later.token]) == {later.token}


def test_what_was_released_is_claimed_next(books: Books) -> None:
    books.begun(3)
    first, _ = books.part(), books.part()
    books.ledger.release(first)
    assert books.part().part == first.part


def test_a_job_of_twenty_thousand_parts_is_kept_whole(books: Books) -> None:
    job = books.begun(20_000)
    assert job.total == 20_000 * ROWS
    claims = [books.part() for _ in range(3)]
    assert [claim.part.number for claim in claims if claim.part] == [0, 1, 2]
    assert books.ledger.complete_part(claims[1], scored(claims[1]))
    assert [part.number for part in books.ledger.open_parts(job.id)] == [0, *range(2, 20_000)]
    ((part, result),) = books.ledger.done_parts(job.id)
    assert (part, result) == (claims[1].part, scored(claims[1]))
    assert books.ledger.done_parts(job.id, 2) == []


@pytest.mark.slow
def test_each_part_gets_one_result_whoever_claims_and_gives_up_at_the_same_time(
    books: Books, database: Database
) -> None:
    job = books.begun(40)
    results, lost = Counter[int](), list[Claim]()

    def work(seed: int) -> None:
        chance, ledger = random.Random(seed), RunnerLedger(database, lease_s=LEASE_S, clock_s=books.clock)
        while claim := ledger.claim_part():
            if chance.random() < 0.3:
                lost.append(claim)  # as if this runner were killed now, or very slow
            elif ledger.complete_part(claim, scored(claim)) and claim.part:
                results[claim.part.number] += 1

    for round_number in range(20):
        threads = [threading.Thread(target=work, args=(4 * round_number + number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        books.clock.now_s += LEASE_S
    assert lost
    assert not any(books.ledger.complete_part(claim, scored(claim)) for claim in lost)
    assert results == dict.fromkeys(range(40), 1)
    assert [part.number for part, _ in books.ledger.done_parts(job.id)] == list(range(40))
    job = books.ledger.job("", job.id)
    assert (job.completed, job.failed) == (40 * (ROWS - 1), 40)
    assert books.ledger.used_bytes() == 100 + 40 * 1000


@pytest.mark.slow
def test_uploads_at_the_same_time_stay_within_the_quota(books: Books) -> None:
    file = books.file(size=1)
    kept = list[str]()

    def upload(name: str) -> None:
        try:
            books.ledger.add_file(replace(file, id=name), 6)
            kept.append(name)
        except StorageFull:
            pass

    threads = [threading.Thread(target=upload, args=(f"file {number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(kept) == 5
    assert books.ledger.used_bytes() == 6


WORKER = """
import sys
from tests.deployments.jobs.ledgers import LEASE_S, START_S, scored
from tests.deployments.jobs.test_databases import opened
from deployments.jobs.runner_ledger import RunnerLedger
ledger = RunnerLedger(opened(sys.argv[1]), lease_s=LEASE_S, clock_s=lambda: START_S)
while claim := ledger.claim_part():
    print("claimed", claim.part.number, flush=True)
    sys.stdin.readline()
    print("done", claim.part.number, ledger.complete_part(claim, scored(claim)), flush=True)
"""


def opened(place: str) -> Database:
    """The database of a URL or file."""
    from deployments.jobs.place import database_of
    from deployments.settings import JobSettings

    return database_of(JobSettings(database=place))


@pytest.mark.slow
def test_the_part_of_a_killed_process_is_scored_by_another_one_when_its_lease_has_run_out(
    make_database: MakeDatabase, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    database = make_database(tmp_path)
    in_redis = type(database).__name__ == "RedisDatabase"
    place = request.getfixturevalue("redis_server").url if in_redis else str(tmp_path / "jobs.sqlite")
    books = Books(database)
    job = books.begun(3)
    command = [sys.executable, "-c", WORKER, place]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed 0\n"
        process.stdin.write("\n")
        process.stdin.flush()
        assert [process.stdout.readline() for _ in range(2)] == ["done 0 True\n", "claimed 1\n"]
        process.send_signal(signal.SIGKILL)
    assert [claim.part.number for _ in range(1) if (claim := books.part()).part] == [2]
    assert books.ledger.claim_part() is None
    books.clock.now_s += LEASE_S
    claims = [books.part(), books.part()]
    assert [(claim.part.number, claim.attempts) for claim in claims if claim.part] == [(1, 2), (2, 2)]
    assert all(books.ledger.complete_part(claim, scored(claim)) for claim in claims)
    assert [part.number for part, _ in books.ledger.done_parts(job.id)] == [0, 1, 2]
    ending = books.ledger.claim_job()
    assert ending is not None
    assert (ending.job.status, ending.job.ending) == ("finalizing", "completed")
