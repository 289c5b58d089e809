"""Jobs on a real server: OpenAI's client, a kill of the whole server in the midst of a job, and logs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest

from tests.deployments.jobs.redis_server import RedisServer
from tests.docs import Example, examples
from tests.serve.server import ROOT, Server, environment, running, write_config

pytestmark = pytest.mark.serve

CANARY = "canary5f3a"
PAIRS = 600


def client_of(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=60)


def events(server: Server, batch_id: str) -> Iterator[dict[str, object]]:
    """The states of a job, as the server reports them, until it has ended."""
    with httpx2.stream("GET", f"{server.url}/v1/batches/{batch_id}/events", timeout=120) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


def requests(url: str, *bodies: dict[str, str]) -> bytes:
    rows = [{"custom_id": f"{url} {n}", "method": "POST", "url": url, "body": body} for n, body in enumerate(bodies)]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/pred/sentences/", {"sentence_1": f"{CANARY} 하나", "sentence_2": "둘"}),
        ("/generate", {"passage": f"The {CANARY} sings."}),
        ("/api", {"question": f"{CANARY}?", "context": "시립 도서관은 매일 오전 9시에 문을 연다."}),
    ],
)
def test_a_row_of_a_job_gets_the_answer_that_its_request_gets(server: Server, url: str, body: dict[str, str]) -> None:
    with client_of(server) as sdk:
        file = sdk.files.create(file=(f"{CANARY}.jsonl", requests(url, body, {})), purpose="batch")
        batch = sdk.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h")  # type: ignore[arg-type]
        *_, ended = events(server, batch.id)
        assert ended["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
        answer = json.loads(sdk.files.content(str(ended["output_file_id"])).text)["response"]["body"]
        error = json.loads(sdk.files.content(str(ended["error_file_id"])).text)
    alone = httpx2.post(f"{server.url}{url}", json=body, timeout=60).json()
    for one in (answer, alone):
        one.pop("runtime(sec)", None)
    assert answer == pytest.approx(alone, abs=1e-4) if url != "/api" else answer == alone
    assert error["response"]["status_code"] == 422
    repeated = [name for name, content in server.logs().items() if CANARY in content]
    assert repeated == []


def shown_commands() -> list[Example]:
    """What docs/jobs.md shows of `munjang jobs`, up to the results."""
    shown = [one for one in examples() if one.words[:2] == ["munjang", "jobs"]]
    return shown[: [one.words[2] for one in shown].index("results") + 1]


def test_the_commands_that_the_page_shows_score_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(
        "sentence1,sentence2\n가,나\n오늘 비가 온다,오늘 비가 온다\n다,라\n", encoding="utf-8"
    )
    submit, *others = shown_commands()
    (shown_id,) = submit.output
    (job,) = munjang(server, tmp_path, *submit.words[1:])
    for example in others:
        output = munjang(server, tmp_path, *(job if word == shown_id else word for word in example.words[1:]))
        assert output[-1:] == example.output
    rows = (tmp_path / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["pred"] for row in rows][1] == 1
    assert len(rows) == 3


def munjang(server: Server, folder: Path, *words: str) -> list[str]:
    """The lines that a command prints."""
    command = [sys.executable, "-m", "deployments", *words, "--url", server.url]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.fixture(params=["sqlite", "redis"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What `jobs.database` names."""
    if request.param == "sqlite":
        yield str(tmp_path / "jobs.sqlite")
        return
    server = RedisServer(tmp_path)
    yield server.url
    server.kill()


@pytest.mark.faults
def test_a_job_goes_on_after_a_kill_of_the_whole_server_and_no_row_is_lost_or_there_twice(
    tmp_path: Path, database: str
) -> None:
    jobs = {"folder": str(tmp_path / "jobs"), "database": database, "rows_per_part": 50, "lease_s": 5}
    config = write_config(tmp_path, jobs=jobs)
    rows = "".join(f"{n}\t오늘 과제 {n}번은 무엇인가요?\t{n}번 과제가 무엇인지 알려 주세요.\n" for n in range(PAIRS))
    killed = Server(config, environment())
    try:
        with client_of(killed.wait_until_ready()) as sdk:
            file = sdk.files.create(file=("pairs.tsv", f"idx\tsentence1\tsentence2\n{rows}".encode()), purpose="batch")
            batch = sdk.batches.create(
                input_file_id=file.id,
                endpoint="/pred/file/",  # type: ignore[arg-type]
                completion_window="24h",
            )
        for state in events(killed, batch.id):
            if state["request_counts"]["completed"] >= PAIRS // 3:  # type: ignore[index]
                break
        else:
            pytest.fail("the job ended before the server could be killed")
    finally:
        killed.kill()
    with running(config, environment()) as server, client_of(server) as sdk:
        *_, ended = events(server, batch.id)
        assert ended["status"] == "completed"
        lines = sdk.files.content(str(ended["output_file_id"])).text.splitlines()
        assert ended["error_file_id"] is None
    assert [json.loads(line)["idx"] for line in lines] == [str(number) for number in range(PAIRS)]
    if not database.startswith("redis"):
        assert os.stat(database).st_mode & 0o077 == 0
