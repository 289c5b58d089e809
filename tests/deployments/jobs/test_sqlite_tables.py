import sqlite3
from contextlib import closing
from pathlib import Path

from deployments.jobs.sqlite_database import SqliteDatabase
from deployments.jobs.sqlite_tables import SqliteTables
from tests.deployments.jobs.ledgers import LEASE_S, Books

STEP = 100  # instructions of SQLite's virtual machine


def test_the_next_part_and_the_next_job_are_found_without_a_look_at_all_parts(tmp_path: Path) -> None:
    books, steps = Books(SqliteDatabase(tmp_path / "jobs.sqlite")), list[None]()
    books.begun(20_000)
    claims = [books.part(), books.part()]
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as connection:
        connection.set_progress_handler(lambda: steps.append(None), STEP)
        tables, now_s = SqliteTables(connection), books.clock.now_s
        found = [tables.next_part(now_s), tables.next_part(now_s + LEASE_S)]
        assert [part.number for _, part, _ in filter(None, found)] == [2, 0]
        assert tables.claimed(claims[1].token) is not None
        assert tables.next_job(now_s) is None
    assert len(steps) * STEP < 2000
