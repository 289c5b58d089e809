"""The routes of files and jobs, driven by OpenAI's own client, with a runner that the tests let take its steps."""

import asyncio
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Message

from deployments.api.app import DIRECT, make_api
from deployments.jobs.endpoints import endpoints_of
from deployments.jobs.runner import Runner
from deployments.keys import Key
from deployments.settings import AccessSettings, IngressSettings, Settings
from tests.deployments.api.conftest import URL, ScriptedServices, jobs_in
from tests.deployments.api.test_access import sha256
from tests.deployments.jobs.jobs import request_lines
from tests.deployments.jobs.jobs import services as bulk

MEGABYTE = 2**20


@pytest.fixture
def services(tmp_path: Path) -> ScriptedServices:
    return ScriptedServices(jobs=jobs_in(tmp_path / "jobs", rows_per_part=3))


@pytest.fixture
def sdk(client: TestClient) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0, http_client=client) as sdk:
        yield sdk


def run(services: ScriptedServices, steps: int = 1000) -> None:
    """Let a runner take so many steps."""
    jobs = services.jobs
    runner = Runner(jobs.ledger, jobs.storage, endpoints_of(DIRECT, bulk(jobs.settings)), jobs.settings, MEGABYTE)

    async def take() -> None:
        for _ in range(steps):
            if not await runner.step():
                return

    asyncio.run(take())


def upload(sdk: openai.OpenAI, content: bytes = b"", name: str = "rows.jsonl") -> str:
    return sdk.files.create(file=(name, content or request_lines(7)), purpose="batch").id


def submit(sdk: openai.OpenAI, file_id: str, endpoint: Any = "/generate", **more: Any) -> Any:
    return sdk.batches.create(input_file_id=file_id, endpoint=endpoint, completion_window="24h", **more)


def test_the_client_of_openai_uploads_submits_and_reads_the_results(
    sdk: openai.OpenAI, services: ScriptedServices
) -> None:
    file = sdk.files.create(file=("../../행\n.jsonl", request_lines(7)), purpose="batch")
    assert (file.object, file.bytes, file.purpose, file.status) == ("file", len(request_lines(7)), "batch", "processed")
    batch = submit(sdk, file.id, metadata={"name": "test"})
    assert (batch.object, batch.status, batch.metadata) == ("batch", "validating", {"name": "test"})
    run(services)
    batch = sdk.batches.retrieve(batch.id)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (7, 7, 0)
    assert batch.output_file_id is not None
    answers = [json.loads(line) for line in sdk.files.content(batch.output_file_id).text.splitlines()]
    assert [one["custom_id"] for one in answers] == [f"row {number}" for number in range(7)]
    assert sdk.files.content(file.id).content == request_lines(7)
    assert [one.id for one in sdk.batches.list()] == [batch.id]
    assert {one.id for one in sdk.files.list()} == {file.id, batch.output_file_id}
    assert sdk.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.files.retrieve(file.id)


def test_lists_come_in_pages(sdk: openai.OpenAI) -> None:
    file_id = upload(sdk)
    ids = [submit(sdk, file_id).id for _ in range(5)]
    assert [one.id for one in sdk.batches.list(limit=2)] == ids[::-1]
    page = sdk.batches.list(limit=2)
    assert (len(page.data), page.has_more) == (2, True)
    files = [file_id, *(upload(sdk) for _ in range(2))]
    assert [one.id for one in sdk.files.list(order="asc", limit=1)] == files


def test_results_can_be_read_while_a_job_runs(
    sdk: openai.OpenAI, client: TestClient, services: ScriptedServices
) -> None:
    batch = submit(sdk, upload(sdk))
    run(services, 2)
    first = client.get(f"/v1/batches/{batch.id}/output")
    assert [json.loads(line)["custom_id"] for line in first.text.splitlines()] == ["row 0", "row 1", "row 2"]
    run(services, 1)
    second = client.get(f"/v1/batches/{batch.id}/output", params={"first_part": first.headers["X-Next-Part"]})
    assert [json.loads(line)["custom_id"] for line in second.text.splitlines()] == ["row 3", "row 4", "row 5"]
    run(services)
    assert client.get(f"/v1/batches/{batch.id}/output").status_code == 409


def test_events_show_the_job_until_it_has_ended(
    sdk: openai.OpenAI, client: TestClient, services: ScriptedServices
) -> None:
    batch = submit(sdk, upload(sdk))
    with client.stream("GET", f"/v1/batches/{batch.id}/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "event: batch"
        assert json.loads(next(lines).removeprefix("data: "))["status"] == "validating"
        run(services)
        statuses = [json.loads(line[6:])["status"] for line in lines if line.startswith("data: ")]
    assert statuses[-1] == "completed"


def test_a_job_is_cancelled_once(sdk: openai.OpenAI, services: ScriptedServices) -> None:
    file_id = upload(sdk)
    batch = submit(sdk, file_id)
    with pytest.raises(openai.ConflictError):
        sdk.files.delete(file_id)
    assert sdk.batches.cancel(batch.id).status == "cancelling"
    assert sdk.batches.cancel(batch.id).status == "cancelling"
    run(services)
    assert sdk.batches.retrieve(batch.id).status == "cancelled"
    with pytest.raises(openai.ConflictError):
        sdk.batches.cancel(batch.id)


def test_the_same_idempotency_key_makes_one_job(sdk: openai.OpenAI) -> None:
    file_id, key = upload(sdk), {"Idempotency-Key": "one"}
    first = submit(sdk, file_id, extra_headers=key)
    assert submit(sdk, file_id, extra_headers=key).id == first.id
    with pytest.raises(openai.ConflictError):
        submit(sdk, file_id, "/api", extra_headers=key)
    assert submit(sdk, file_id).id != first.id


def test_a_file_that_fails_is_explained_by_line(sdk: openai.OpenAI, services: ScriptedServices) -> None:
    batch = submit(sdk, upload(sdk, request_lines(2) + b"{"))
    run(services)
    batch = sdk.batches.retrieve(batch.id)
    assert batch.status == "failed"
    assert [(one.code, one.line) for one in batch.errors.data] == [("invalid_json_line", 3)]


@pytest.mark.parametrize("text", ["file-x", "../../etc/passwd", "..%2f..%2fjobs.sqlite", "file-" + "0" * 32, "*"])
def test_an_id_that_is_not_ours_is_not_found(client: TestClient, text: str) -> None:
    for path in ("/v1/files/{}", "/v1/files/{}/content", "/v1/batches/{}", "/v1/batches/{}/events"):
        assert client.get(path.format(text)).status_code == 404, path
    answer = client.get(f"/v1/files/file-{'1' * 32}")
    assert answer.json()["error"].items() >= {"type": "not_found_error", "code": "not_found"}.items()


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"data": {"purpose": "batch"}}, 415),
        ({"files": {"file": ("a", b"x")}}, 422),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "vision"}}, 422),
        ({"files": {"file": ("a", b"")}, "data": {"purpose": "batch"}}, 422),
        ({"files": [("file", ("a", b"x")), ("file", ("b", b"x"))], "data": {"purpose": "batch"}}, 422),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "batch" * 1000}}, 400),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "batch", "expires_after[seconds]": "1"}}, 422),
        ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400),
    ],
)
def test_a_wrong_upload_is_refused_and_leaves_nothing(
    client: TestClient, services: ScriptedServices, form: dict[str, Any], status: int
) -> None:
    assert client.post("/v1/files", **form).status_code == status
    assert services.jobs.ledger.files("", None, 10) == []
    folder = Path(services.jobs.settings.folder)
    assert [one.name for one in folder.rglob("*") if one.is_file() and "sqlite" not in one.name] == []


def test_uploads_beyond_the_limit_and_the_quota_are_refused(tmp_path: Path) -> None:
    services = ScriptedServices(jobs=jobs_in(tmp_path, max_file_bytes=3_000_000, max_bytes=4_000_000))
    client = TestClient(make_api(services), URL, raise_server_exceptions=False)

    def status(size: int) -> int:
        return client.post("/v1/files", files={"file": ("a", b"x" * size)}, data={"purpose": "batch"}).status_code

    assert [status(3_500_000), status(2_500_000), status(2_500_000), status(1_000)] == [413, 200, 507, 200]


def test_a_full_disk_refuses_uploads_and_no_other_request(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr("deployments.jobs.storage.os.fsync", _no_space)
        refused = client.post("/v1/files", files={"file": ("a", b"x")}, data={"purpose": "batch"})
    assert refused.status_code == 507
    assert refused.headers["x-should-retry"] == "false"
    assert client.get("/v1/files").json()["data"] == []
    assert client.post("/generate", json={"passage": "a"}).status_code == 200


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


def form_of(megabytes: int) -> Iterator[bytes]:
    yield b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\n'
    yield b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    for _ in range(16 * megabytes):
        yield b"0123456789abcdef" * (MEGABYTE // 256)
    yield b"\r\n--x--\r\n"


def post_in_pieces(app: FastAPI, pieces: Iterator[bytes]) -> bytes:
    """The body of the answer to an upload whose pieces are made one at a time."""
    answer: list[bytes] = []

    async def receive() -> Message:
        piece = next(pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(message: Message) -> None:
        answer.append(message.get("body", b""))

    headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": "/v1/files", "query_string": b"", "headers": headers}
    asyncio.run(app(scope, receive, send))
    return b"".join(answer)


def test_an_upload_of_100_mb_takes_less_than_64_mb_of_memory(services: ScriptedServices) -> None:
    app = make_api(services)
    tracemalloc.start()
    try:
        answer = post_in_pieces(app, form_of(100))
        highest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert json.loads(answer)["bytes"] == 100 * MEGABYTE
    assert highest < 64 * MEGABYTE


def test_an_upload_that_breaks_off_leaves_nothing(services: ScriptedServices) -> None:
    pieces = form_of(2)
    answer = post_in_pieces(make_api(services), (next(pieces) for _ in range(20)))
    assert "cut off" in json.loads(answer)["error"]["message"]
    assert not [*Path(services.jobs.settings.folder).glob("uploads/*")]


def test_one_key_does_not_see_what_belongs_to_another(services: ScriptedServices) -> None:
    keys = tuple(
        Key(name=name, sha256=sha256(name), scopes=frozenset(scopes))
        for name, scopes in (("one", {"upload", "infer"}), ("two", {"upload"}), ("three", {"infer"}))
    )
    services.settings = Settings(ingress=IngressSettings(access=AccessSettings(keys=keys)))
    client = TestClient(make_api(services), URL, raise_server_exceptions=False)
    one, two, three = (
        openai.OpenAI(base_url=f"{URL}/v1", api_key=name, max_retries=0, http_client=client)
        for name in ("one", "two", "three")
    )
    file_id = upload(one)
    batch = submit(one, file_id)
    assert list(two.batches.list()) == list(two.files.list()) == []
    for call in (
        lambda: two.files.content(file_id),
        lambda: two.files.delete(file_id),
        lambda: two.batches.retrieve(batch.id),
        lambda: two.batches.cancel(batch.id),
        lambda: submit(two, file_id, "/pred/file/"),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    with pytest.raises(openai.PermissionDeniedError):
        three.files.list()
    with pytest.raises(openai.UnprocessableEntityError, match="lacks the scope infer"):
        submit(two, upload(two))
