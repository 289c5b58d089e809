"""A running server, asked over HTTP as its callers ask it."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx2

from pipelines.errors import DataNotFound, ServerFailed
from pipelines.format.manifest import Task

IN_FLIGHT = 32  # single requests; a server admits hundreds
PAIRS_OF_A_FILE = 1000
LONGEST_S = 600.0


class ServerClient:
    """The server at `url`. Raises ServerFailed where it does not answer, or refuses."""

    def __init__(self, url: str) -> None:
        self._url = url

    def threshold(self, task: Task) -> float | None:
        """The task's decision threshold, as /info says. Raises DataNotFound where the task is not served."""
        tasks = asyncio.run(self._info())["tasks"]
        if task not in tasks:
            raise DataNotFound(self._url, f"serves {', '.join(tasks)}, not {task}")
        threshold: float | None = tasks[task]["threshold"]
        return threshold

    def outputs(self, task: Task, inputs: Sequence[Any]) -> list[Any]:
        """One output per input, in order, as `pipelines.evaluate` measures them."""
        match task:
            case "sts":
                return asyncio.run(self._files(inputs))
            case "cola":
                return asyncio.run(self._each("/generate", [{"passage": text} for text in inputs], "prob"))
            case "qa":
                bodies = [{"question": question, "context": context} for question, context in inputs]
                return asyncio.run(self._each("/api", bodies, "answer"))

    async def _info(self) -> Any:
        async with self._client() as client:
            return await self._answer(client, "GET", "/info")

    async def _files(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        results: list[tuple[float, bool]] = []
        async with self._client() as client:
            for start in range(0, len(pairs), PAIRS_OF_A_FILE):
                rows = pairs[start : start + PAIRS_OF_A_FILE]
                content = {"results": [{"idx": i, "sentence1": a, "sentence2": b} for i, (a, b) in enumerate(rows)]}
                files = {"file": ("pairs.json", json.dumps(content).encode(), "application/json")}
                answer = await self._answer(client, "POST", "/pred/file/", files=files)
                flags = map(bool, answer["preds"])
                results += zip(answer["scores"], flags, strict=True)
        return results

    async def _each(self, path: str, bodies: Sequence[dict[str, str]], key: str) -> list[Any]:
        turns = asyncio.Semaphore(IN_FLIGHT)

        async def ask(client: httpx2.AsyncClient, body: dict[str, str]) -> Any:
            async with turns:
                return (await self._answer(client, "POST", path, json=body))[key]

        async with self._client() as client:
            return await asyncio.gather(*(ask(client, body) for body in bodies))

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self._url, timeout=LONGEST_S)

    async def _answer(self, client: httpx2.AsyncClient, method: str, path: str, **content: Any) -> Any:
        try:
            response = await client.request(method, path, **content)
            response.raise_for_status()
            return response.json()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise ServerFailed(f"{self._url}{path}", str(error) or type(error).__name__) from error
