"""mosec with dynamic batching. Its HTTP server is written in Rust, its workers are processes."""

import os
import sys
from typing import Any

from mosec import Server, Worker
from scoring import Scorer, options

MAX_BATCH_SIZE = 64
MAX_WAIT_MS = 1
TIMEOUT_S = 3600.0


class Similarity(Worker):
    def __init__(self) -> None:
        self.scorer = Scorer(os.environ["MODEL"], int(os.environ["THREADS"]))

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.scorer.answer(data)


if __name__ == "__main__":
    chosen = options()
    os.environ |= {"MODEL": str(chosen.model), "THREADS": str(chosen.threads)}
    sys.argv[1:] = ["--address", "127.0.0.1", "--port", str(chosen.port), "--log-level", "warning"]
    sys.argv += ["--timeout", str(int(TIMEOUT_S * 1000))]
    server = Server()
    server.append_worker(
        Similarity,
        num=chosen.workers,
        max_batch_size=MAX_BATCH_SIZE,
        max_wait_time=MAX_WAIT_MS,
        timeout=TIMEOUT_S,
        route="/score",
    )
    server.run()
