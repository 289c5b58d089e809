"""Change the checkpoint of a running graph under load: edit `serve_config.yaml`, then run `serve deploy`."""

import asyncio
import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
import yaml

from pipelines.checkpoints.in_process import load_pipeline
from pipelines.format.manifest import Task, read_manifest, write_manifest
from tests.checkpoint_factory import SAMPLE, make_imported
from tests.conftest import MakeCheckpoint
from tests.serve.server import Server, environment, running, write_config

pytestmark = pytest.mark.serve

KINDS: dict[Task, str] = {"sts": "static", "qa": "extractor"}
TWO = {"autoscaling_config": {"min_replicas": 2, "max_replicas": 2}}
CALL = 16  # most pairs in one call, so that a file takes many calls
CALLERS = 2  # for each request
STARTED_WITHIN_S = 120.0
STARTS = 3  # failed starts of a replica before Serve gives up
UPDATED_S = 240.0  # enough for a loaded machine with 2 cores; an idle one needs a tenth of this
APART, SAME = 1e-2, 1e-5

WORDS = " ".join(SAMPLE).split()
CONTEXT = " ".join(WORDS * 10)  # several windows long
QUESTION = "오늘 회의?"

Folders = Mapping[str, Mapping[Task, Path]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, imported: MakeCheckpoint) -> Folders:
    """A tiny checkpoint for each version and task."""
    folder = tmp_path_factory.mktemp("new")
    return {
        "old": {task: imported(kind) for task, kind in KINDS.items()},
        "new": {task: make_imported(kind, folder / task, seed=1) for task, kind in KINDS.items()},
    }


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> Path:
    """The config file of the old version, with two replicas each of the STS tokenizer and the STS model."""
    path = write_config(tmp_path_factory.mktemp("swap"), sts={"group_commit": {"max_items": CALL}}, qa={})
    with edited(path) as application:
        application["deployments"] = [{"name": name} | TWO for name in ("StsTokenizer", "StsEncoder")]
    name_checkpoints(path, folders["old"])
    return path


def name_checkpoints(config: Path, folders: Mapping[Task, Path]) -> None:
    with edited(config) as application:
        for task, folder in folders.items():
            application["args"][task]["checkpoint"] = str(folder)


@contextmanager
def edited(config: Path) -> Iterator[dict[str, Any]]:
    """Yield the application of a config file, and write the file again at the end."""
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    yield content["applications"][0]
    config.write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.fixture(scope="module")
def server(config: Path) -> Iterator[Server]:
    with running(config, environment()) as server:
        yield server


@dataclass(frozen=True)
class Request:
    """A request, the key of its answer to compare, and the expected value of each version."""

    path: str
    content: Mapping[str, Any]
    key: str
    expected: Mapping[str, Any]

    def version(self, response: httpx2.Response) -> str:
        """The version that answered. Fails if the answer is that of no version, or of more than one."""
        assert response.status_code == 200, response.text
        answer = response.json()[self.key]
        versions = [version for version, expected in self.expected.items() if np.all(same(answer, expected))]
        assert len(versions) == 1, f"{self.path}: {self._shares(answer)}"
        return versions[0]

    def _shares(self, answer: Any) -> dict[str, str]:
        return {v: f"{np.sum(same(answer, of))} of {np.size(answer)} are its own" for v, of in self.expected.items()}


def same(answer: Any, expected: Any) -> Any:
    return answer == expected if isinstance(answer, str) else np.abs(np.subtract(answer, expected)) <= SAME


@pytest.fixture(scope="module")
def requests(folders: Folders) -> list[Request]:
    """A file, a single pair and a question, which the two versions answer differently."""

    def expected(task: Task, items: Sequence[Any], read: Callable[[Any], Any]) -> dict[str, list[Any]]:
        """The answers of each version's checkpoint in this process."""
        return {
            version: [read(result) for result in asyncio.run(results_of(load_pipeline(by_task[task], task), items))]
            for version, by_task in folders.items()
        }

    pairs = random_pairs(600)
    scores = {version: np.array(of) for version, of in expected("sts", pairs, lambda result: result.score).items()}
    apart = np.flatnonzero(np.abs(scores["old"] - scores["new"]) > APART)
    assert len(apart) > 20 * CALL
    rows = [{"idx": int(i), "sentence1": pairs[i][0], "sentence2": pairs[i][1]} for i in apart]
    upload = {"files": {"file": ("pairs.json", json.dumps({"results": rows}).encode())}}
    single = {"sentence_1": pairs[apart[0]][0], "sentence_2": pairs[apart[0]][1]}
    answers = expected("qa", [(QUESTION, CONTEXT)], lambda result: result.text)
    question = {"json": {"question": QUESTION, "context": CONTEXT}}
    return [
        Request("/pred/file/", upload, "scores", {version: of[apart] for version, of in scores.items()}),
        Request("/pred/sentences/", {"json": single}, "score", {v: of[apart[0]] for v, of in scores.items()}),
        Request("/api", question, "answer", {version: of[0] for version, of in answers.items()}),
    ]


def random_pairs(count: int) -> list[tuple[str, str]]:
    generator = random.Random(count)
    return [(" ".join(generator.choices(WORDS, k=4)), " ".join(generator.choices(WORDS, k=4))) for _ in range(count)]


async def results_of(pipeline: Any, items: Sequence[Any]) -> list[Any]:
    return list(await pipeline(items))


def versions_until(updated: threading.Event, started: threading.Barrier, url: str, request: Request) -> list[str]:
    """Send requests one after another, the last one after the update. Returns the version that answered each."""
    with httpx2.Client(base_url=url, timeout=120) as client:
        versions = [request.version(client.post(request.path, **request.content))]
        started.wait(STARTED_WITHIN_S)
        last = False
        while not last:
            last = updated.is_set()
            versions.append(request.version(client.post(request.path, **request.content)))
        return versions


def test_a_swap_under_load_loses_no_request_and_mixes_no_versions_in_a_file(
    server: Server, config: Path, folders: Folders, requests: list[Request]
) -> None:
    replaced = server.replicas()
    callers = [request for request in requests for _ in range(CALLERS)]
    updated, started = threading.Event(), threading.Barrier(len(callers) + 1)
    with ThreadPoolExecutor(len(callers)) as threads:
        answers = [threads.submit(versions_until, updated, started, server.url, request) for request in callers]
        try:
            started.wait(STARTED_WITHIN_S)
            name_checkpoints(config, folders["new"])
            server.deploy(config)
            left = psutil.wait_procs(replaced, timeout=UPDATED_S)[1]
        finally:
            updated.set()
        for request, caller in zip(callers, answers, strict=True):
            versions = caller.result()
            assert (versions[0], versions[-1]) == ("old", "new"), request.path
    assert not left
    tasks = httpx2.get(f"{server.url}/info", timeout=60).json()["tasks"]
    assert [tasks[task]["digest"] for task in KINDS] == [read_manifest(folders["new"][task]).digest for task in KINDS]


def test_the_old_model_goes_on_serving_if_the_new_one_fails_its_golden_check(
    server: Server, config: Path, folders: Folders, requests: list[Request], tmp_path: Path
) -> None:
    bad = Path(shutil.copytree(folders["old"]["qa"], tmp_path / "bad"))
    manifest = read_manifest(bad)
    wrong = [golden.model_copy(update={"output": "of another model"}) for golden in manifest.golden]
    write_manifest(bad, manifest.model_copy(update={"golden": wrong, "max_tokens": manifest.max_tokens - 1}))
    assert read_manifest(bad).digest != manifest.digest
    question, until_s = requests[-1], time.monotonic() + UPDATED_S
    with httpx2.Client(base_url=server.url, timeout=120) as client:
        versions = {question.version(client.post(question.path, **question.content))}
        name_checkpoints(config, {"qa": bad})
        server.deploy(config)
        while server.output.count("golden input") < STARTS:
            assert time.monotonic() < until_s, server.output
            versions.add(question.version(client.post(question.path, **question.content)))
    assert len(versions) == 1
