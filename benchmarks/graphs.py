"""Compare the graph of a checkpoint as it is stored with the one that the engine makes of it, by turns in one process.

    python -m benchmarks.graphs CHECKPOINT --dtype int8

Prints one JSON line for each batch: the shortest of all rounds for each graph in ms, and how many times as fast the
joined graph is. One thread runs random token ids without padding. "exact" is the stored graph with the kernel for CPUs
without int8 dot products, which all CPUs used from 2026-11-28 to 29.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from pipelines.engines.choice import ONNX, Choice
from pipelines.engines.onnx_engine import EXACT_ON_X64, PROVIDERS, OnnxEngine, session_options
from pipelines.format.manifest import KIND_SPECS, read_manifest
from pipelines.text.token_batch import CheckpointRef, TokenBatch

BATCHES = ("1x12", "16x17", "64x8", "4x128", "2x384")
HIGHEST_ID = 4000  # ids up to here are in every vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--dtype", choices=list(ONNX), default="int8")
    parser.add_argument("--batches", nargs="+", default=BATCHES, metavar="ITEMSxTOKENS")
    parser.add_argument("--rounds", type=int, default=25)
    arguments = parser.parse_args()
    choice = Choice("onnx", "cpu", arguments.dtype, threads=1, slots=1)
    engines = engines_of(arguments.checkpoint, choice)
    names = KIND_SPECS[read_manifest(arguments.checkpoint).kind].outputs
    for shape in arguments.batches:
        items, tokens = map(int, shape.split("x"))
        shortest = alternate(engines, batch_of(items, tokens), names, arguments.rounds)
        milliseconds = {f"{name}_ms": round(1000 * seconds, 3) for name, seconds in shortest.items()}
        faster = {f"over_{name}": round(shortest[name] / shortest["joined"], 3) for name in engines if name != "joined"}
        print(json.dumps({"batch": shape, "dtype": choice.dtype, **milliseconds, **faster}), flush=True)


def engines_of(folder: Path, choice: Choice) -> dict[str, OnnxEngine]:
    """The engine, and the same graph as it is stored."""
    path = folder / ONNX[choice.dtype]
    exact = session_options(choice.threads)
    exact.add_session_config_entry(EXACT_ON_X64, "1")
    options = {"stored": session_options(choice.threads)} | ({"exact": exact} if choice.dtype == "int8" else {})
    stored = {
        name: OnnxEngine(onnxruntime.InferenceSession(path, option, PROVIDERS), choice)
        for name, option in options.items()
    }
    return {"joined": OnnxEngine.load(folder, choice), **stored}


def batch_of(items: int, tokens: int) -> TokenBatch:
    """Items of equal length with random ids."""
    count = items * tokens
    return TokenBatch(
        checkpoint=CheckpointRef("", "", None),
        ids=np.random.default_rng(0).integers(5, HIGHEST_ID, count).astype(np.int32),
        types=np.zeros(count, dtype=np.uint8),
        lengths=np.full(items, tokens, dtype=np.int32),
        truncated=np.zeros(items, dtype=np.bool_),
    )


def alternate(
    engines: Mapping[str, OnnxEngine], batch: TokenBatch, names: tuple[str, ...], rounds: int
) -> dict[str, float]:
    """The shortest time of each engine in seconds. The first two rounds, which allocate memory, do not count."""
    shortest = dict.fromkeys(engines, float("inf"))
    for number in range(rounds + 2):
        for name, engine in engines.items():
            begin = time.perf_counter()
            engine.outputs(batch, *names)
            seconds = time.perf_counter() - begin
            if number >= 2:
                shortest[name] = min(shortest[name], seconds)
    return shortest


if __name__ == "__main__":
    main()
