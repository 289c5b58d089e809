"""Measure the upper limit of a server: the engine alone, in one process, and `encode` of sentence-transformers.

    python -m benchmarks.engine CHECKPOINT --data ../shared/data
    python -m benchmarks.engine CHECKPOINT --source SOURCE --data ../shared/data

CHECKPOINT is a folder in the project's format; SOURCE is the sentence-transformers folder that it was imported from.
The settings run by turns, so that a machine whose speed drifts slows all of them. Prints one JSON line for each
setting, the fastest first: pairs per second, median, lowest and highest of all rounds. `slots` and `threads` are those
of `engine:` in serve_config.yaml, so this also says what to set there on a machine. The engine runs batches sorted by
length; its time does not include tokenizing.
"""

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.pairs import Pair, read_pairs, stream, take
from pipelines.checkpoints import in_process
from pipelines.engines.choice import EngineSettings
from pipelines.format.manifest import read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.text.files import data_folder
from pipelines.text.token_batch import TokenBatch

BUDGETS = (128, 256, 512, 1024, 4096)
"""Padded tokens of a batch. Small batches fit into the caches, large ones have less overhead; the best counts."""
SLOTS_AND_THREADS = ((2, 1), (1, 2))

Runs = dict[str, Callable[[], object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--engine", default="{}", help="JSON of pipelines.engines.choice.EngineSettings")
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pairs = take(stream(read_pairs(arguments.data), arguments.seed), arguments.pairs)
    runs: Runs = {}
    for slots, threads in SLOTS_AND_THREADS:
        settings = EngineSettings.model_validate(json.loads(arguments.engine) | {"threads": threads, "slots": slots})
        runs |= engine_runs(arguments.checkpoint, settings, pairs)
        if arguments.source:
            runs[f"encode, {threads} threads"] = encode(arguments.source, threads, pairs)
    report(by_turns(runs, arguments.rounds), len(pairs))


def engine_runs(folder: Path, settings: EngineSettings, pairs: list[Pair]) -> Runs:
    """The project's engine on all pairs, with each budget."""
    manifest = read_manifest(folder)
    model = in_process.load_model(folder, manifest, settings)
    tokens = TextTokenizer.load(folder, manifest).sentence_pairs(pairs).tokens
    threads = ThreadPoolExecutor(model.engine.slots)

    def run(batches: list[TokenBatch]) -> None:
        list(threads.map(model.run, batches))

    name = f"{model.engine.name}, slots {model.engine.slots}, threads {settings.threads}"
    return {
        f"{name}, {budget} tokens": partial(run, [tokens.select(batch) for batch in tokens.by_length(budget)])
        for budget in BUDGETS
    }


def encode(folder: Path, threads: int, pairs: list[Pair]) -> Callable[[], object]:
    """`encode` of sentence-transformers in float32 on all sentences, tokenizing included."""
    import torch  # these two only where they are compared: they take seconds
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    sentences = [sentence for pair in pairs for sentence in pair]

    def run() -> None:
        torch.set_num_threads(threads)
        model.encode(sentences, show_progress_bar=False)

    return run


def by_turns(runs: Runs, rounds: int) -> dict[str, list[float]]:
    """The seconds of each run in each round, after a round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begin)
    return {name: times[1:] for name, times in seconds.items()}


def report(seconds: dict[str, list[float]], pairs: int) -> None:
    for name, times in sorted(seconds.items(), key=lambda item: median(item[1])):
        rates = {"pairs_per_s": median(times), "lowest": max(times), "highest": min(times)}
        print(json.dumps({"load": name} | {key: round(pairs / value, 1) for key, value in rates.items()}), flush=True)


if __name__ == "__main__":
    main()
