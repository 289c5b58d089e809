"""A client of a running server; it sends the same HTTP requests as any other caller."""

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any

import httpx2

from pipelines.errors import DataNotFound, ServerFailed
from pipelines.format.manifest import Task

MOST_IN_FLIGHT = 32  # requests; a server admits hundreds
PAIRS_PER_FILE = 1000
TIMEOUT_S = 600.0
KEY_VARIABLE = "MUNJANG_API_KEY"  # for a server that asks for a key


class ServerClient:
    """The server at `url`. Its methods raise ServerFailed if the server does not answer or answers with an error."""

    def __init__(self, url: str) -> None:
        self._url = url

    def threshold(self, task: Task) -> float | None:
        """The task's decision threshold, read from /info. Raises DataNotFound if the task is not served."""
        tasks = asyncio.run(self._info())["tasks"]
        if task not in tasks:
            raise DataNotFound(self._url, f"serves {', '.join(tasks)}, not {task}")
        threshold: float | None = tasks[task]["threshold"]
        return threshold

    def outputs(self, task: Task, inputs: Sequence[Any]) -> list[Any]:
        """One output per input, in order, in the form that `TaskDefinition.figures` takes."""
        match task:
            case "sts":
                return asyncio.run(self._score_files(inputs))
            case "cola":
                return asyncio.run(self._ask_each("/generate", [{"passage": text} for text in inputs], "prob"))
            case "qa":
                bodies = [{"question": question, "context": context} for question, context in inputs]
                return asyncio.run(self._ask_each("/api", bodies, "answer"))

    async def _info(self) -> Any:
        async with self._client() as client:
            return await self._answer(client, "GET", "/info")

    async def _score_files(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        results: list[tuple[float, bool]] = []
        async with self._client() as client:
            for start in range(0, len(pairs), PAIRS_PER_FILE):
                rows = pairs[start : start + PAIRS_PER_FILE]
                content = {"results": [{"idx": i, "sentence1": a, "sentence2": b} for i, (a, b) in enumerate(rows)]}
                files = {"file": ("pairs.json", json.dumps(content).encode(), "application/json")}
                answer = await self._answer(client, "POST", "/pred/file/", files=files)
                flags = map(bool, answer["preds"])
                results += zip(answer["scores"], flags, strict=True)
        return results

    async def _ask_each(self, path: str, bodies: Sequence[dict[str, str]], key: str) -> list[Any]:
        slots = asyncio.Semaphore(MOST_IN_FLIGHT)

        async def ask(client: httpx2.AsyncClient, body: dict[str, str]) -> Any:
            async with slots:
                return (await self._answer(client, "POST", path, json=body))[key]

        async with self._client() as client:
            return await asyncio.gather(*(ask(client, body) for body in bodies))

    def _client(self) -> httpx2.AsyncClient:
        key = os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx2.AsyncClient(base_url=self._url, headers=headers, timeout=TIMEOUT_S)

    async def _answer(self, client: httpx2.AsyncClient, method: str, path: str, **content: Any) -> Any:
        try:
            response = await client.request(method, path, **content)
            response.raise_for_status()
            return response.json()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise ServerFailed(f"{self._url}{path}", str(error) or type(error).__name__) from error
