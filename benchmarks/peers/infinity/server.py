"""Infinity with its own server, made as its command line makes it, but with uvicorn's worker processes.

Infinity's own option for two workers, `--device-id 0,0`, runs two copies of the model on one thread pool. On a machine
of 2 cores it hangs at the first requests, because the pool has fewer threads than the copies occupy.
"""

import os

import uvicorn
from fastapi import FastAPI
from infinity_emb import EngineArgs, create_server
from scoring import options

BATCH_SIZE = 32


def app() -> FastAPI:
    engine = EngineArgs(
        model_name_or_path=os.environ["MODEL"],
        served_model_name="model",
        engine="torch",
        device="cpu",
        dtype=os.environ.get("INFINITY_DTYPE", "float32"),
        bettertransformer=os.environ.get("INFINITY_BETTERTRANSFORMER", "0") == "1",
        batch_size=int(os.environ.get("INFINITY_BATCH_SIZE", BATCH_SIZE)),
    )
    return create_server(engine_args_list=[engine])


if __name__ == "__main__":
    chosen = options()
    os.environ |= {"MODEL": str(chosen.model), "INFINITY_ANONYMOUS_USAGE_STATS": "0", "DO_NOT_TRACK": "1"}
    uvicorn.run(
        "server:app",
        factory=True,
        host="127.0.0.1",
        port=chosen.port,
        workers=chosen.workers,
        http="httptools",
        loop="uvloop",
        log_level="warning",
    )
