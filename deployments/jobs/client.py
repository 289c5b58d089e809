"""A client of the routes for files and jobs, for the command line."""

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from deployments.jobs.records import FINAL
from pipelines.errors import ServerFailed
from pipelines.measure.server_client import KEY_VARIABLE

TIMEOUT_S = 60.0
RECONNECT_S = 120.0
RETRY_EVERY_S = 1.0

Job = dict[str, Any]
"""A job, as OpenAI's batch object describes it."""


@contextmanager
def connection(url: str) -> Iterator[httpx2.Client]:
    """An HTTP client of the server at `url`, with the API key of the environment, if there is one."""
    key = os.environ.get(KEY_VARIABLE)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT_S) as http:
        yield http


class JobsClient:
    """The jobs of a server. All methods raise ServerFailed if it does not answer, or answers with an error."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def submit(self, file: Path, endpoint: str, window: str) -> Job:
        """Upload a file, as a stream, and make a job of it. Raises OSError if the file can't be read."""
        with file.open("rb") as content:
            uploaded = self._json("POST", "/v1/files", data={"purpose": "batch"}, files={"file": (file.name, content)})
        body = {"input_file_id": uploaded["id"], "endpoint": endpoint, "completion_window": window}
        return self._json("POST", "/v1/batches", json=body)

    def status(self, job_id: str) -> Job:
        """The job."""
        return self._json("GET", f"/v1/batches/{job_id}")

    def cancel(self, job_id: str) -> Job:
        """End the job early, and return it."""
        return self._json("POST", f"/v1/batches/{job_id}/cancel")

    def changes(self, job_id: str) -> Iterator[Job]:
        """The job, and again after each change, until it has ended.

        If the server goes away meanwhile, it is asked again for `RECONNECT_S`: jobs survive its restart.
        """
        shown: Job | None = None
        lost_s = math.inf
        while shown is None or shown["status"] not in FINAL:
            try:
                for job in self._events(job_id):
                    lost_s = math.inf
                    if job != shown:
                        yield job
                    shown = job
            except ServerFailed:
                lost_s = min(lost_s, time.monotonic())
                if shown is None or time.monotonic() > lost_s + RECONNECT_S:
                    raise
                time.sleep(RETRY_EVERY_S)

    def _events(self, job_id: str) -> Iterator[Job]:
        with self._stream(f"/v1/batches/{job_id}/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def results(self, job_id: str, *, errors: bool) -> Iterator[bytes]:
        """The bytes of the answers, or of the errors: all, or those that are there while the job has not ended."""
        kind = "error_file_id" if errors else "output_file_id"
        job = self.status(job_id)
        if job["status"] not in FINAL:
            try:
                yield from self._content(f"/v1/batches/{job_id}/output", errors=str(errors).lower())
                return
            except ServerFailed:
                job = self.status(job_id)
                if job["status"] not in FINAL:
                    raise
        if job[kind] is not None:  # the job has ended, perhaps since the question before
            yield from self._content(f"/v1/files/{job[kind]}/content")

    def _content(self, path: str, **query: str) -> Iterator[bytes]:
        with self._stream(path, params=query) as answer:
            yield from answer.iter_bytes()

    def _json(self, method: str, path: str, **content: Any) -> Job:
        with self._failures(path):
            answer = self._http.request(method, path, **content)
            _raise_for_error(answer)
            found: Job = answer.json()
            return found

    @contextmanager
    def _stream(self, path: str, **content: Any) -> Iterator[httpx2.Response]:
        with self._failures(path), self._http.stream("GET", path, **content) as answer:
            if answer.is_error:
                answer.read()
            _raise_for_error(answer)
            yield answer

    @contextmanager
    def _failures(self, path: str) -> Iterator[None]:
        try:
            yield
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise ServerFailed(
                f"{self._http.base_url}".rstrip("/") + path, str(error) or type(error).__name__
            ) from error


def _raise_for_error(answer: httpx2.Response) -> None:
    """Raise ValueError with the server's own words for an error."""
    if answer.is_error:
        try:
            words = str(answer.json()["error"]["message"])
        except (ValueError, LookupError, TypeError):
            words = answer.reason_phrase
        raise ValueError(f"{answer.status_code}, {words}")
