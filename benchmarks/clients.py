"""Clients that ask each kind of server for the scores of pairs."""

import asyncio
import base64
import itertools
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import aiohttp
import numpy as np

from benchmarks.loads import Refused
from benchmarks.pairs import Pair
from pipelines.measure.server_client import KEY_VARIABLE

REFUSALS = {429, 503}
TIMEOUT = aiohttp.ClientTimeout(total=3600)


class Turns:
    """Sessions with several servers. Each request goes to the next server."""

    def __init__(self, sessions: Sequence[aiohttp.ClientSession]) -> None:
        self._next = itertools.cycle(sessions).__next__

    def post(self, path: str, **body: Any) -> Any:
        return self._next().post(path, **body)


@asynccontextmanager
async def session(*urls: str) -> AsyncIterator[Turns]:
    """Sessions with the servers at `urls`. The number of connections is not limited.

    Requests have the key in the environment variable `MUNJANG_API_KEY`, if there is one.
    """
    key = os.environ.get(KEY_VARIABLE)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with AsyncExitStack() as stack:
        connectors = [aiohttp.TCPConnector(limit=0) for _ in urls]
        sessions = [
            aiohttp.ClientSession(url, connector=connector, timeout=TIMEOUT, headers=headers)
            for url, connector in zip(urls, connectors, strict=True)
        ]
        yield Turns([await stack.enter_async_context(one) for one in sessions])


Session = aiohttp.ClientSession | Turns


class Client(Protocol):
    """A client of one kind of server."""

    ready: str
    """The path that answers 200 once the server is ready."""

    def __init__(self, session: Session, prompt: str = "") -> None: ...

    async def score(self, pair: Pair) -> float:
        """Score one pair in one request. Raises Refused."""

    async def scores(self, pairs: list[Pair]) -> list[float]:
        """Score pairs in as few requests as the server allows, usually one. Raises Refused."""


async def post(session: Session, path: str, **body: Any) -> Any:
    """Return the decoded answer. Raises Refused on status 429 or 503, RuntimeError on any other except 200."""
    async with session.post(path, **body) as response:
        content = await response.read()
    if response.status in REFUSALS:
        raise Refused(response.status)
    if response.status != 200:
        raise RuntimeError(f"{path}: {response.status} {content[:200]!r}")
    return json.loads(content)


class HttpClient:
    """Sends requests to one or several servers.

    `prompt` is what the model wants before each text. All servers add it themselves, except Infinity.
    """

    def __init__(self, session: Session, prompt: str = "") -> None:
        self._session = session
        self._prompt = prompt


class MunjangClient(HttpClient):
    ready = "/readyz"

    async def score(self, pair: Pair) -> float:
        body = {"sentence_1": pair[0], "sentence_2": pair[1]}
        return (await post(self._session, "/pred/sentences/", json=body))["score"]

    async def scores(self, pairs: list[Pair]) -> list[float]:
        rows = [{"idx": i, "sentence1": left, "sentence2": right} for i, (left, right) in enumerate(pairs, 1)]
        form = aiohttp.FormData()
        form.add_field("file", json.dumps({"results": rows}).encode(), filename="pairs.json")
        return (await post(self._session, "/pred/file/", data=form))["scores"]


class FastApiClient(HttpClient):
    ready = "/ready"

    async def score(self, pair: Pair) -> float:
        body = {"sentence_1": pair[0], "sentence_2": pair[1]}
        return (await post(self._session, "/score", json=body))["score"]

    async def scores(self, pairs: list[Pair]) -> list[float]:
        return (await post(self._session, "/file", json={"pairs": pairs}))["scores"]


class OneRouteClient(FastApiClient):
    """LitServe and mosec: one route, whose requests hold one pair or many."""

    async def scores(self, pairs: list[Pair]) -> list[float]:
        return (await post(self._session, "/score", json={"pairs": pairs}))["scores"]


class LitServeClient(OneRouteClient):
    ready = "/health"


class MosecClient(OneRouteClient):
    ready = "/metrics"


class BentoMlClient(HttpClient):
    ready = "/readyz"

    async def score(self, pair: Pair) -> float:
        body = {"pairs": [{"sentence_1": pair[0], "sentence_2": pair[1]}]}
        return (await post(self._session, "/score", json=body))[0]

    async def scores(self, pairs: list[Pair]) -> list[float]:
        return await post(self._session, "/file", json={"pairs": pairs})


class InfinityClient(HttpClient):
    """Asks for embeddings in base64, the cheapest encoding for both sides, and computes the cosines itself."""

    ready = "/health"
    PATH = "/embeddings"
    MODEL = "model"
    MAX_PAIRS = 1024

    async def score(self, pair: Pair) -> float:
        return (await self.scores([pair]))[0]

    async def scores(self, pairs: list[Pair]) -> list[float]:
        parts = [pairs[start : start + self.MAX_PAIRS] for start in range(0, len(pairs), self.MAX_PAIRS)]
        return [score for scores in await asyncio.gather(*map(self._scores, parts)) for score in scores]

    async def _scores(self, pairs: list[Pair]) -> list[float]:
        sentences = [self._prompt + sentence for pair in pairs for sentence in pair]
        body = {"model": self.MODEL, "input": sentences, "encoding_format": "base64"}
        answer = await post(self._session, self.PATH, json=body)
        rows = [np.frombuffer(base64.b64decode(row["embedding"]), dtype=np.float32) for row in answer["data"]]
        embeddings = np.stack(rows)  # (sentences, dimensions), of unit length
        return np.einsum("pd,pd->p", embeddings[0::2], embeddings[1::2]).tolist()


class OpenAiClient(InfinityClient):
    """Munjang's route in OpenAI's shape."""

    PATH = "/v1/embeddings"
    MODEL = "sts"


class TeiClient(InfinityClient):
    """Munjang's route in the shape of text-embeddings-inference, which has no base64."""

    async def _scores(self, pairs: list[Pair]) -> list[float]:
        sentences = [sentence for pair in pairs for sentence in pair]
        embeddings = np.array(await post(self._session, "/embed", json={"inputs": sentences}), dtype=np.float32)
        return np.einsum("pd,pd->p", embeddings[0::2], embeddings[1::2]).tolist()
