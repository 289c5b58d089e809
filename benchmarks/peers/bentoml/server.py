"""BentoML with adaptive batching in one service. A second service in front would add a hop to every request."""

import os
import sys

import bentoml
from pydantic import BaseModel
from scoring import Scorer, options

MAX_BATCH_SIZE = 64
MAX_LATENCY_MS = 60_000
"""BentoML refuses requests that would take longer with 503. With a lower bound, 64 callers would be refused."""


class Pair(BaseModel):
    sentence_1: str
    sentence_2: str


@bentoml.service(
    workers=int(os.environ.get("WORKERS", "1")),
    traffic={"timeout": 3600},
    logging={"access": {"enabled": False}},
)
class Similarity:
    def __init__(self) -> None:
        self.scorer = Scorer(os.environ["MODEL"], int(os.environ["THREADS"]))

    @bentoml.api(route="/score", batchable=True, max_batch_size=MAX_BATCH_SIZE, max_latency_ms=MAX_LATENCY_MS)
    def score(self, pairs: list[Pair]) -> list[float]:
        return self.scorer.scores([(pair.sentence_1, pair.sentence_2) for pair in pairs])

    @bentoml.api(route="/file")
    def file(self, pairs: list[tuple[str, str]]) -> list[float]:
        return self.scorer.scores(pairs)


if __name__ == "__main__":
    chosen = options()
    os.environ |= {"MODEL": str(chosen.model), "THREADS": str(chosen.threads), "WORKERS": str(chosen.workers)}
    os.environ["BENTOML_DO_NOT_TRACK"] = "true"
    command = ["-m", "bentoml", "serve", "server:Similarity", "--host", "127.0.0.1", "--port", str(chosen.port)]
    os.execv(sys.executable, [sys.executable, *command])
