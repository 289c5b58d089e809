"""Redis that fails, is full, is started again, or asks for a password."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from deployments.jobs import runner
from deployments.jobs.place import database_of, ledger_of
from deployments.jobs.records import Job
from deployments.jobs.tables import Tables
from deployments.settings import JobSettings
from pipelines.cola.pipeline import Acceptability
from pipelines.errors import ConfigError, StorageFailed, StorageFull
from tests.deployments.jobs.conftest import empty_redis
from tests.deployments.jobs.jobs import Place, request_lines
from tests.deployments.jobs.ledgers import START_S, Books, scored
from tests.deployments.jobs.redis_server import RedisServer
from tests.serve.server import free_port

SECRET = "a secret of this test"


@pytest.fixture
def books(redis_server: RedisServer) -> Books:
    return Books(empty_redis(redis_server))


def test_all_keys_are_in_one_place_of_a_cluster_and_none_stays_when_all_has_expired(
    books: Books, redis_server: RedisServer
) -> None:
    books.begun(2)
    claim = books.part()
    assert books.ledger.complete_part(claim, scored(claim))
    books.part()
    with redis_server.client() as client:
        assert all(key.startswith("{munjang-jobs}:") for key in client.scan_iter())
        books.clock.now_s += 2 * 10**6
        ending = books.ledger.claim_job()
        assert ending is not None
        assert books.ledger.end_job(ending, replace(ending.job, status="expired"))
        books.ledger.remove_expired(0)
        assert books.ledger.used_bytes() == 0
        assert {key.split(":", 1)[1] for key in client.scan_iter()} == {"added", "used", "version:lists"}


def test_a_server_that_is_away_is_a_failure_and_so_is_a_wrong_password(own_redis: RedisServer) -> None:
    nobody = ledger_of(JobSettings(database=f"redis://127.0.0.1:{free_port()}/0"))
    with pytest.raises(StorageFailed, match="ConnectionError"):
        nobody.used_bytes()
    with own_redis.client() as client:
        client.config_set("requirepass", SECRET)
    with pytest.raises(StorageFailed, match="AuthenticationError"):
        ledger_of(JobSettings(database=own_redis.url)).used_bytes()


def test_a_server_that_does_not_answer_is_a_failure(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from deployments.jobs import redis_database

    monkeypatch.setattr(redis_database, "ANSWER_S", 0.2)
    books = Books(empty_redis(own_redis))
    own_redis.freeze()
    with pytest.raises(StorageFailed, match="TimeoutError"):
        books.file()


def test_the_password_comes_from_the_environment(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with own_redis.client() as client:
        client.config_set("requirepass", SECRET)
    monkeypatch.setenv("MUNJANG_REDIS_PASSWORD", SECRET)
    assert ledger_of(JobSettings(database=own_redis.url)).used_bytes() == 0


def test_tls_checks_the_certificate_of_the_server(tmp_path: Path) -> None:
    authority, port = trustme.CA(), free_port()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    options = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(tmp_path / "ca.pem")]
    for name in ("--tls-cert-file", "--tls-key-file"):
        options += [name, str(tmp_path / "server.pem")]
    server = RedisServer(tmp_path, *options)
    try:
        url = f"rediss://127.0.0.1:{port}/0"
        with pytest.raises(StorageFailed, match="ConnectionError"):
            ledger_of(JobSettings(database=url)).used_bytes()
        assert ledger_of(JobSettings(database=f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}")).used_bytes() == 0
    finally:
        server.kill()


def test_everything_is_there_after_redis_was_killed_and_started_again(own_redis: RedisServer) -> None:
    books = Books(empty_redis(own_redis))
    job, claim = books.begun(2), books.part()
    own_redis.kill()
    with pytest.raises(StorageFailed):
        books.ledger.complete_part(claim, scored(claim))
    own_redis.start()
    assert books.ledger.complete_part(claim, scored(claim))
    assert [part for part, _ in books.ledger.done_parts(job.id)] == [claim.part]


def test_a_redis_without_memory_is_full_and_keeps_what_it_has(own_redis: RedisServer) -> None:
    books = Books(empty_redis(own_redis))
    file = books.file()
    with own_redis.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StorageFull):
            books.file()
        assert [one.id for one in books.ledger.files("", None, 9)] == [file.id]
        client.config_set("maxmemory", 0)
    books.file()
    assert books.ledger.used_bytes() == 200


def test_a_replica_that_may_not_be_written_to_is_a_failure(own_redis: RedisServer) -> None:
    books = Books(empty_redis(own_redis))
    with own_redis.client() as client:
        client.replicaof("127.0.0.1", free_port())
    with pytest.raises(StorageFailed, match="ReadOnlyError"):
        books.file()


def test_a_change_whose_answer_was_lost_is_made_once(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    job, claim = books.begun(2), books.part()
    read = redis.Redis.parse_response

    def lose(client: Any, connection: Any, command: str, **options: Any) -> Any:
        answer = read(client, connection, command, **options)
        if command != "EVALSHA":
            return answer
        monkeypatch.undo()
        raise redis.TimeoutError

    monkeypatch.setattr(redis.Redis, "parse_response", lose)
    with pytest.raises(StorageFailed, match="TimeoutError"):
        books.ledger.complete_part(claim, scored(claim))
    ((part, result),) = books.ledger.done_parts(job.id)
    assert (part, result) == (claim.part, scored(claim))
    assert books.ledger.job("", job.id).completed == scored(claim).completed


CHANGES: dict[str, tuple[Callable[[Tables, Job], Any], Callable[[Books, Job], Any]]] = {
    "quota": (lambda tables, _: tables.used_bytes(), lambda books, _: books.file()),
    "file": (lambda tables, job: tables.file(job.input_file_id), lambda books, _: books.file()),
    "files": (lambda tables, _: tables.files_of("", None, 9, newest_first=True), lambda books, _: books.file()),
    "expired files": (lambda tables, _: tables.expired_files(0), lambda books, _: books.file()),
    "jobs": (lambda tables, _: tables.jobs_of("", None, 9), lambda books, _: books.job()),
    "unfinished jobs": (lambda tables, _: tables.unfinished_jobs(""), lambda books, _: books.job()),
    "ended jobs": (lambda tables, _: tables.ended_jobs(0), lambda books, _: books.job()),
    "key": (lambda tables, _: tables.job_with_key("", "key"), lambda books, _: books.job()),
    "job": (lambda tables, job: tables.job(job.id), lambda books, job: books.ledger.cancel("", job.id)),
    "open parts": (lambda tables, job: tables.open_parts(job.id), lambda books, _: books.part()),
    "next part": (lambda tables, _: tables.next_part(START_S), lambda books, _: books.part()),
    "next job": (lambda tables, _: tables.next_job(START_S + 3600), lambda books, job: books.ledger.cancel("", job.id)),
    "claim": (lambda tables, _: tables.claimed(TOKEN), lambda books, job: books.ledger.cancel("", job.id)),
}
TOKEN = "a token"


@pytest.mark.parametrize("name", CHANGES)
def test_a_transaction_is_repeated_if_what_it_has_read_was_changed(books: Books, name: str) -> None:
    read, change = CHANGES[name]
    job, reads = books.begun(3), list[Any]()
    books.database.run(lambda tables: tables.claim((job.id, 0), TOKEN, START_S + 1))

    def body(tables: Tables) -> None:
        reads.append(read(tables, job))
        if len(reads) == 1:
            change(books, job)

    books.database.run(body)
    assert len(reads) == 2


def test_a_transaction_that_never_gets_through_is_a_failure(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    from deployments.jobs import redis_database

    monkeypatch.setattr(redis_database, "BUSY_S", 0.05)
    monkeypatch.setattr(redis_database.RedisDatabase, "_commits", lambda *_: False)
    with pytest.raises(StorageFailed, match="Busy"):
        books.ledger.used_bytes()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "FAULT_S", 0.05)
    monkeypatch.setattr(runner, "IDLE_S", 0.05)


@pytest.mark.usefixtures("hurried")
def test_a_job_goes_on_when_redis_is_back(own_redis: RedisServer, tmp_path: Path) -> None:
    place = Place(tmp_path, JobSettings(rows_per_part=1, patience_s=0), database=empty_redis(own_redis))
    job, begun = place.submit(request_lines(8)), asyncio.Event()

    def answer(passage: str) -> Acceptability:
        if passage == "Passage 3":
            begun.set()
        return Acceptability(0.25, False)

    place.services.cola.answer = answer  # type: ignore[attr-defined]

    async def work() -> None:
        working = asyncio.ensure_future(place.runner().run())
        await begun.wait()
        own_redis.kill()
        await asyncio.to_thread(_fails, place)
        await asyncio.to_thread(own_redis.start)
        place.now_s += place.settings.lease_s + 1
        while (await asyncio.to_thread(place.ledger.job, "", job.id)).status != "completed":
            pass
        working.cancel()
        await asyncio.wait([working])

    asyncio.run(asyncio.wait_for(work(), 60))
    ended = place.ledger.job("", job.id)
    assert (ended.completed, ended.failed) == (8, 0)
    assert [line["custom_id"] for line in place.lines(ended.output_file_id)] == [f"row {n}" for n in range(8)]


def _fails(place: Place) -> None:
    with pytest.raises(StorageFailed):
        place.ledger.used_bytes()


@pytest.mark.parametrize("url", ["http://redis:6379", "redis://redis:port/0"])
def test_a_url_that_is_none_of_redis_is_refused(redis_server: RedisServer, url: str) -> None:
    with pytest.raises(ConfigError, match="must be a URL like redis://HOST:6379/0"):
        database_of(JobSettings(database=url))


@pytest.mark.parametrize("url", [f"redis://:{SECRET}@redis:6379/0", f"redis://redis/0?password={SECRET}"])
def test_a_password_in_the_settings_is_refused_and_not_shown(redis_server: RedisServer, url: str) -> None:
    with pytest.raises(ConfigError, match=r"belongs in \$MUNJANG_REDIS_PASSWORD") as raised:
        database_of(JobSettings(database=url.replace(" ", "%20")))
    assert "secret" not in str(raised.value)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "deployments.jobs.redis_database", raising=False)
    with pytest.raises(ConfigError, match=r"munjang\[redis\]"):
        database_of(JobSettings(database="redis://127.0.0.1:6379/0"))
