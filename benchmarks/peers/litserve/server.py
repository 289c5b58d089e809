"""LitServe with dynamic batching."""

import os
from typing import Any

import litserve
from scoring import Scorer, options

MAX_BATCH_SIZE = 64
BATCH_TIMEOUT_S = 0.002


class Similarity(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002
        self.scorer = Scorer(os.environ["MODEL"], int(os.environ["THREADS"]))

    def batch(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return inputs

    def predict(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.scorer.answer(requests)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output


if __name__ == "__main__":
    chosen = options()
    os.environ |= {"MODEL": str(chosen.model), "THREADS": str(chosen.threads)}
    server = litserve.LitServer(
        Similarity(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S, api_path="/score"),
        accelerator="cpu",
        devices=1,
        workers_per_device=chosen.workers,
        timeout=False,
        fast_queue=True,
    )
    server.run(host="127.0.0.1", port=chosen.port, num_api_servers=1, log_level="warning", generate_client_file=False)
