"""Two servers with a folder and a ledger in Redis in common, as the nodes of a cluster have them."""

import asyncio
import json
from pathlib import Path

from starlette.testclient import TestClient

from deployments.api.app import DIRECT, make_api
from deployments.jobs.endpoints import endpoints_of
from deployments.jobs.place import ledger_of, storage_of
from deployments.jobs.runner import Runner
from deployments.settings import JobSettings
from tests.deployments.api.conftest import URL, ScriptedServices, jobs_in
from tests.deployments.jobs.jobs import request_lines, services
from tests.deployments.jobs.redis_server import RedisServer

UPLOAD = {"files": {"file": ("rows.jsonl", request_lines(5))}, "data": {"purpose": "batch"}}


def node(folder: Path, server: RedisServer) -> TestClient:
    """The routes of one node."""
    jobs = jobs_in(folder, database=server.url, rows_per_part=2)
    return TestClient(make_api(ScriptedServices(jobs=jobs)), URL, raise_server_exceptions=False)


async def take_turns(settings: JobSettings) -> None:
    """Let two job runners take steps by turns until there is no more work."""
    endpoints = endpoints_of(DIRECT, services(settings))
    runners = [Runner(ledger_of(settings), storage_of(settings), endpoints, settings, 1000) for _ in range(2)]
    while any([await runner.step() for runner in runners]):
        pass
    assert all(runner.steps for runner in runners)


def test_a_file_of_one_node_is_scored_by_all_and_read_from_another(own_redis: RedisServer, tmp_path: Path) -> None:
    first, second = node(tmp_path, own_redis), node(tmp_path, own_redis)
    file = first.post("/v1/files", **UPLOAD).json()
    body = {"input_file_id": file["id"], "endpoint": "/generate", "completion_window": "24h"}
    headers = {"Idempotency-Key": "key"}
    job, same = (one.post("/v1/batches", json=body, headers=headers).json() for one in (second, first))
    assert job["id"] == same["id"]
    asyncio.run(take_turns(JobSettings(folder=str(tmp_path), database=own_redis.url, rows_per_part=2)))
    ended = first.get(f"/v1/batches/{job['id']}").json()
    assert (ended["status"], ended["request_counts"]["completed"]) == ("completed", 5)
    answers = second.get(f"/v1/files/{ended['output_file_id']}/content").text.splitlines()
    assert [json.loads(line)["custom_id"] for line in answers] == [f"row {number}" for number in range(5)]


def test_routes_of_jobs_say_that_redis_is_away_and_work_again_when_it_is_back(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    client = node(tmp_path, own_redis)
    file = client.post("/v1/files", **UPLOAD).json()
    own_redis.kill()
    refused = [client.post("/v1/files", **UPLOAD), client.get("/v1/batches"), client.get(f"/v1/files/{file['id']}")]
    assert [one.status_code for one in refused] == [503, 503, 503]
    assert not any(str(own_redis.port) in one.text for one in refused)
    own_redis.start()
    assert [one["id"] for one in client.get("/v1/files").json()["data"]] == [file["id"]]


def test_uploads_get_507_while_redis_has_no_memory(own_redis: RedisServer, tmp_path: Path) -> None:
    client = node(tmp_path, own_redis)
    with own_redis.client() as redis:
        redis.config_set("maxmemory", 1)
        assert client.post("/v1/files", **UPLOAD).status_code == 507
        redis.config_set("maxmemory", 0)
    assert client.post("/v1/files", **UPLOAD).status_code == 200
    assert len(list((tmp_path / "uploads").iterdir())) == 1
