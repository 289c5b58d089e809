"""Measure the upper limit of a server: the engine alone, in one process, and `encode` of sentence-transformers.

    python -m benchmarks.engine CHECKPOINT SOURCE --data ../shared/data

CHECKPOINT is a folder in the project's format; SOURCE is the sentence-transformers folder that it was imported from.
Prints one JSON line for each setting. The engine runs batches sorted by length; its time does not include tokenizing.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from benchmarks.pairs import Pair, read_pairs, stream, take
from pipelines.checkpoints import in_process
from pipelines.engines.choice import EngineSettings
from pipelines.format.manifest import read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.text.files import data_folder

BUDGETS = (128, 256, 512, 1024, 4096)
"""Padded tokens of a batch. Small batches fit into the caches, large ones have less overhead; the best counts."""
THREADS_AND_SLOTS = ((1, 2), (2, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--engine", default="{}", help="JSON of pipelines.engines.choice.EngineSettings")
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pairs = take(stream(read_pairs(arguments.data), arguments.seed), arguments.pairs)
    for threads, slots in THREADS_AND_SLOTS:
        settings = EngineSettings.model_validate(json.loads(arguments.engine) | {"threads": threads, "slots": slots})
        for budget, rate in engine_rates(arguments.checkpoint, settings, pairs):
            say(f"engine, {slots}x{threads} threads, {budget} tokens", rate)
        say(f"encode, {threads} threads", encode_rate(arguments.source, threads, pairs))


def engine_rates(folder: Path, settings: EngineSettings, pairs: list[Pair]) -> Iterator[tuple[int, float]]:
    """Yield (budget, pairs/s) of the project's engine."""
    manifest = read_manifest(folder)
    model = in_process.load_model(folder, manifest, settings)
    tokens = TextTokenizer.load(folder, manifest).sentence_pairs(pairs).tokens
    for budget in BUDGETS:
        batches = [tokens.select(batch) for batch in tokens.by_length(budget)]
        with ThreadPoolExecutor(model.engine.slots) as threads:
            list(threads.map(model.run, batches[:4]))
            yield (
                budget,
                rate(lambda batches=batches, threads=threads: list(threads.map(model.run, batches)), len(pairs)),
            )


def encode_rate(folder: Path, threads: int, pairs: list[Pair]) -> float:
    """Pairs/s of `encode` of sentence-transformers on all sentences, tokenizing included."""
    torch.set_num_threads(threads)
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    sentences = [sentence for pair in pairs for sentence in pair]
    model.encode(sentences[:32], show_progress_bar=False)
    return rate(lambda: model.encode(sentences, show_progress_bar=False), len(pairs))


def rate(run: Callable[[], object], count: int) -> float:
    begin = time.perf_counter()
    run()
    return count / (time.perf_counter() - begin)


def say(load: str, pairs_per_s: float) -> None:
    print(json.dumps({"load": load, "pairs_per_s": round(pairs_per_s, 1)}), flush=True)


if __name__ == "__main__":
    main()
