"""FastAPI and uvicorn with the model loaded once, as most people write such a server.

Plain `def` routes run on a pool of 40 threads, which compete for the cores. The pool is limited to the number of cores
of the worker, as the Starlette documentation shows: with it 64 callers of `small` got 127 pairs/s instead of 75.
OpenVINO gets one thread, since two can't use its model at the same time (`Infer Request is busy`).
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from scoring import Scorer, options

scorer: Scorer


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    global scorer
    at_once = 1 if os.environ.get("BACKEND") == "openvino" else int(os.environ["THREADS"])
    anyio.to_thread.current_default_thread_limiter().total_tokens = at_once
    scorer = Scorer(os.environ["MODEL"], int(os.environ["THREADS"]))
    yield


app = FastAPI(lifespan=lifespan)


class Pair(BaseModel):
    sentence_1: str
    sentence_2: str


class File(BaseModel):
    pairs: list[tuple[str, str]]


@app.post("/score")
def score(pair: Pair) -> dict[str, float]:
    return {"score": scorer.scores([(pair.sentence_1, pair.sentence_2)])[0]}


@app.post("/file")
def file(file: File) -> dict[str, list[float]]:
    return {"scores": scorer.scores(file.pairs)}


@app.get("/ready")
def ready() -> None:
    return None


if __name__ == "__main__":
    chosen = options()
    os.environ |= {"MODEL": str(chosen.model), "THREADS": str(chosen.threads)}
    uvicorn.run("server:app", port=chosen.port, workers=chosen.workers, log_level="warning", access_log=False)
