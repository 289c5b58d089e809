"""Infinity, by its own command line, with the settings that were fastest here (README.md).

Two workers are two copies of the model in one process, on threads of their own, as its `--device-id` makes them.
"""

import os
import sys
from pathlib import Path

from scoring import options

BATCH_SIZE = 64

if __name__ == "__main__":
    chosen = options()
    os.environ |= {"HF_HUB_OFFLINE": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0", "DO_NOT_TRACK": "1"}
    command = [
        str(Path(sys.executable).parent / "infinity_emb"),
        "v2",
        *("--model-id", str(chosen.model)),
        *("--served-model-name", "model"),
        *("--host", "127.0.0.1"),
        *("--port", str(chosen.port)),
        *("--device", "cpu"),
        *("--device-id", ",".join("0" * chosen.workers)),
        *("--batch-size", str(BATCH_SIZE)),
        *("--log-level", "warning"),
        *os.environ.get("INFINITY_OPTIONS", "--engine torch --dtype float32 --bettertransformer").split(),
    ]
    os.execv(command[0], command)
