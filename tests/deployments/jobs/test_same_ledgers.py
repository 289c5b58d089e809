"""Whatever is done to a ledger in SQLite and to one in Redis, both answer the same."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from deployments.jobs import runner_ledger
from deployments.jobs.records import Claim, Job, Source, StoredFile
from deployments.jobs.runner_ledger import RunnerLedger
from deployments.jobs.sqlite_database import SqliteDatabase
from deployments.jobs.tables import Database
from pipelines.errors import MunjangError
from tests.deployments.jobs.conftest import empty_redis
from tests.deployments.jobs.ledgers import LEASE_S, Clock, new_job, parts_of, scored
from tests.deployments.jobs.redis_server import RedisServer

OWNERS = st.sampled_from(["", "이름", "a:b"])
KEYS = st.none() | st.sampled_from(["key", "열쇠"])
PICKS = st.integers(0, 7)


class Tokens:
    """Gives both ledgers the same tokens."""

    def __init__(self) -> None:
        self.step = 0

    def token_hex(self, _: int) -> str:
        return f"token {self.step}"


class SameLedgers(RuleBasedStateMachine):
    redis_server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        databases: list[Database] = [SqliteDatabase(self.folder / "jobs.sqlite"), empty_redis(self.redis_server)]
        self.clock, self.tokens = Clock(), Tokens()
        self.ledgers = [RunnerLedger(one, lease_s=LEASE_S, clock_s=self.clock) for one in databases]
        self.files: list[StoredFile] = []
        self.jobs: list[Job] = []
        self.claims: list[Claim] = []
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(runner_ledger, "secrets", self.tokens)

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    def both(self, action: Callable[[RunnerLedger], Any]) -> Any:
        """What the action answers for both ledgers, or None for the same error."""
        self.tokens.step += 1
        sqlite, redis = (_outcome(action, ledger) for ledger in self.ledgers)
        assert sqlite == redis
        return None if isinstance(sqlite, tuple) and sqlite[:1] == ("error",) else sqlite

    @rule(owner=OWNERS, size=st.integers(1, 400), seconds=st.sampled_from([10.0, 1e6]))
    def add_file(self, owner: str, size: int, seconds: float) -> None:
        now_s = self.clock.now_s
        file = StoredFile(f"file-{len(self.files)}", owner, "batch", "rows", size, now_s, now_s + seconds)
        self.both(lambda ledger: ledger.add_file(file, 1500))
        self.files.append(file)

    @rule(owner=OWNERS, pick=PICKS, key=KEYS, fingerprint=st.sampled_from("ab"), seconds=st.sampled_from([20.0, 1e5]))
    def add_job(self, owner: str, pick: int, key: str | None, fingerprint: str, seconds: float) -> None:
        if file := _picked(self.files, pick):
            job = replace(new_job(file, self.clock.now_s, seconds), owner=owner)
            if self.both(lambda ledger: ledger.add_job(job, 3, key, fingerprint)):
                self.jobs.append(job)

    @rule(owner=OWNERS, pick=PICKS)
    def cancel(self, owner: str, pick: int) -> None:
        if job := _picked(self.jobs, pick):
            self.both(lambda ledger: ledger.cancel(owner, job.id))

    @rule(owner=OWNERS, pick=PICKS)
    def delete_file(self, owner: str, pick: int) -> None:
        if file := _picked(self.files, pick):
            self.both(lambda ledger: ledger.delete_file(owner, file.id))

    @rule()
    def claim_job(self) -> None:
        self._keep(self.both(lambda ledger: ledger.claim_job()))

    @rule()
    def claim_part(self) -> None:
        self._keep(self.both(lambda ledger: ledger.claim_part()))

    def _keep(self, claim: Claim | None) -> None:
        if claim:
            self.claims.append(claim)

    @rule(parts=st.integers(0, 3))
    def claim_and_begin_job(self, parts: int) -> None:
        claim = self.both(lambda ledger: ledger.claim_job())
        if claim:
            self.both(lambda ledger: ledger.begin_job(claim, Source("jsonl", "name"), parts_of(parts)))
            self.claims.append(claim)

    @rule(pick=PICKS)
    def complete_part(self, pick: int) -> None:
        if (claim := _picked([one for one in self.claims if one.part], pick)) is not None:
            self.both(lambda ledger: ledger.complete_part(claim, scored(claim)))

    @rule(pick=PICKS, status=st.sampled_from(["failed", "completed"]), results=st.booleans())
    def end_job(self, pick: int, status: Any, results: bool) -> None:
        if (claim := _picked([one for one in self.claims if not one.part], pick)) is not None:
            now_s, ended = self.clock.now_s, replace(claim.job, status=status)
            name = f"file-{len(self.files)}"
            file = StoredFile(name, claim.job.owner, "batch_output", "output", 700, now_s, now_s + 1e6)
            if self.both(lambda ledger: ledger.end_job(claim, ended, [file] if results else [])):
                self.files += [file] if results else []

    @rule(pick=PICKS)
    def release(self, pick: int) -> None:
        if (claim := _picked(self.claims, pick)) is not None:
            self.both(lambda ledger: ledger.release(claim))

    @rule(picks=st.lists(PICKS, max_size=3))
    def renew(self, picks: list[int]) -> None:
        tokens = [claim.token for pick in picks if (claim := _picked(self.claims, pick))]
        self.both(lambda ledger: ledger.renew(tokens))

    @rule(seconds=st.sampled_from([1.0, LEASE_S, 30.0, 1e5]))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule(keep_s=st.sampled_from([0.0, 100.0]))
    def remove_expired(self, keep_s: float) -> None:
        self.both(lambda ledger: _sorted_ids(ledger.remove_expired(keep_s)))

    @rule(owner=OWNERS, pick=PICKS, limit=st.integers(1, 3), newest_first=st.booleans())
    def pages(self, owner: str, pick: int, limit: int, newest_first: bool) -> None:
        file, job = _picked(self.files, pick), _picked(self.jobs, pick)
        after, after_job = file.id if file else None, job.id if job else None
        self.both(lambda ledger: ledger.files(owner, after, limit, newest_first=newest_first))
        self.both(lambda ledger: ledger.jobs(owner, after_job, limit))

    @invariant()
    def all_is_the_same(self) -> None:
        self.both(lambda ledger: ledger.used_bytes())
        for owner in ("", "이름", "a:b"):
            self.both(lambda ledger, owner=owner: (ledger.files(owner, None, 99), ledger.jobs(owner, None, 99)))
        for job in self.jobs[-3:]:
            self.both(lambda ledger, job=job: (ledger.done_parts(job.id), ledger.open_parts(job.id)))


def _outcome(action: Callable[[RunnerLedger], Any], ledger: RunnerLedger) -> Any:
    try:
        return action(ledger)
    except MunjangError as error:
        return ("error", type(error), str(error))


def _picked(items: list[Any], pick: int) -> Any:
    """One of the newest."""
    return items[-1 - pick % len(items)] if items else None


def _sorted_ids(removed: tuple[list[StoredFile], list[str]]) -> tuple[list[str], list[str]]:
    files, jobs = removed
    return sorted(file.id for file in files), sorted(jobs)


@pytest.mark.slow
def test_both_ledgers_answer_the_same(redis_server: RedisServer) -> None:
    machine = type("Machine", (SameLedgers,), {"redis_server": redis_server})
    run_state_machine_as_test(machine, settings=settings(max_examples=30, stateful_step_count=30, deadline=None))
