"""The original way, for comparison: load the model for every pair; a process pool scores the pairs of a file.

At most as many requests run at once as there are cores. A model for each of 64 callers would not fit into memory.
"""

import os
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager

import anyio.to_thread
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from scoring import options
from sentence_transformers import SentenceTransformer


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = os.cpu_count() or 1
    yield


app = FastAPI(lifespan=lifespan)


class Pair(BaseModel):
    sentence_1: str
    sentence_2: str


class File(BaseModel):
    pairs: list[tuple[str, str]]


def score_of(pair: tuple[str, str]) -> float:
    model = SentenceTransformer(os.environ["MODEL"], device="cpu", model_kwargs={"dtype": torch.float32})
    left, right = model.encode(list(pair), normalize_embeddings=True)
    return float(left @ right)


@app.post("/score")
def score(pair: Pair) -> dict[str, float]:
    return {"score": score_of((pair.sentence_1, pair.sentence_2))}


@app.post("/file")
def file(file: File) -> dict[str, list[float]]:
    with ProcessPoolExecutor() as pool:
        return {"scores": list(pool.map(score_of, file.pairs))}


@app.get("/ready")
def ready() -> None:
    return None


if __name__ == "__main__":
    chosen = options()
    os.environ["MODEL"] = str(chosen.model)
    uvicorn.run(app, port=chosen.port, log_level="warning", access_log=False)
