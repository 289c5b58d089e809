"""Measure the PyTorch engine alone, on the sentences of KLUE-STS train at base size (12 layers of 768, random weights).

    python -m benchmarks.gpu --data ../shared/data                              # on a GPU
    python -m benchmarks.gpu --device cpu --dtypes bfloat16 --layers 2 --sentences 64 --tokens 512   # a smoke test

Prints JSON lines, all measured in one run:

matrix  the matrix rate of the device in TFLOP/s: the fastest matrix product with the shapes of the encoder
engine  sentences/s, tokens/s and model TFLOP/s from token arrays to embeddings in the host's memory; `share` is the
        share of the matrix rate in the same dtype, `parity` the lowest cosine with the embeddings of
        sentence-transformers in float32
texts   the same engine with texts as input: one thread tokenizes batch after batch while the engine runs earlier ones
encode  `encode` of sentence-transformers on the same texts with the same weights, at each batch size
result  for each dtype, the best engine compared with the best `encode` in the same dtype and in float32

Model FLOP are 2 per token for each weight of a layer's linear maps, and 4 x hidden x length^2 per sentence for each
layer's attention. Padding, embeddings, norms, activations and pooling are not counted. Each time is the best of
`--rounds` passes over all sentences, after an unmeasured pass. Batches are cut as in the service, longest sentences
first.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import chain, product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from benchmarks.models import train_wordpiece
from pipelines.engines.choice import Choice, Dtype
from pipelines.engines.torch_engine import SentenceTransformerEngine
from pipelines.sts.data import KLUE_TRAIN, read_scored_pairs
from pipelines.text.token_batch import CheckpointRef, TokenBatch

HIDDEN, INTERMEDIATE, LONGEST, VOCABULARY = 768, 3072, 512, 32_000
SHAPES = ((HIDDEN, HIDDEN), (HIDDEN, INTERMEDIATE), (INTERMEDIATE, HIDDEN))  # inputs, outputs of a layer's linear maps
VARIANTS = {
    "padded": {"packed": False},
    "packed": {"packed": True},
    "compiled": {"packed": True, "compiled": True},
}
Embeddings = NDArray[np.float32]  # (sentences, hidden)
Row = NDArray[np.int64]  # indices of the sentences in a batch


@dataclass(frozen=True)
class Work:
    """The model and the sentences that it embeds. `flop` is the model FLOP for all sentences."""

    folder: Path
    texts: list[str]
    tokenizer: PreTrainedTokenizerFast
    tokens: TokenBatch
    flop: float

    def rates(self, seconds: float) -> dict[str, float]:
        return {
            "sentences_per_s": round(len(self.texts) / seconds),
            "tokens_per_s": round(len(self.tokens.ids) / seconds),
            "model_tflops": round(self.flop / seconds / 1e12, 4),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float16"])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--sentences", type=int, help="number of distinct sentences (all)")
    parser.add_argument(
        "--tokens", type=int, nargs="+", default=[4096, 16384, 65536, 131072], help="padded tokens in a batch"
    )
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2], help="batches that run at once")
    parser.add_argument(
        "--encode-sizes", type=int, nargs="+", default=[32, 128, 512, 2048], help="sentences in a batch"
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    disable_progress_bar()
    report("machine", **machine(arguments.device))
    with TemporaryDirectory() as folder:
        work = prepare(arguments, Path(folder))
        report("work", sentences=len(work.texts), tokens=len(work.tokens.ids), model_gflop=round(work.flop / 1e9, 3))
        measure(arguments, work)


def measure(arguments: argparse.Namespace, work: Work) -> None:
    exact, slow_s = encode_best(arguments, work, "float32")
    for dtype in arguments.dtypes:
        matrix = matrix_rate(arguments.device, dtype, arguments.tokens)
        report("matrix", dtype=dtype, tflops=round(matrix, 4))
        _, encode_s = encode_best(arguments, work, dtype)
        best_s, best = min(engines(arguments, work, dtype, matrix, exact), key=lambda row: row[0])
        report(
            "result",
            dtype=dtype,
            best=best,
            share=round(work.flop / best_s / 1e12 / matrix, 4),
            times_encode=round(encode_s / best_s, 2),
            times_encode_float32=round(slow_s / best_s, 2),
        )


def engines(
    arguments: argparse.Namespace, work: Work, dtype: Dtype, matrix: float, exact: Embeddings
) -> Iterator[tuple[float, str]]:
    """Measure and report every way to run the engine; yield its seconds and description."""
    for variant in arguments.variants:
        choice = Choice("torch", arguments.device, dtype, threads=torch.get_num_threads(), slots=1)
        engine = SentenceTransformerEngine(load(work, "cpu"), choice, **VARIANTS[variant])
        for tokens, slots in product(arguments.tokens, arguments.slots):
            rows = cut(work.tokens.lengths, tokens)
            about = {"engine": engine.name, "batch_tokens": tokens, "slots": slots}
            with ThreadPoolExecutor(slots) as threads:
                seconds, embeddings = time_tokens(engine, threads, work, rows, arguments.rounds)
                text_seconds = time_texts(engine, threads, work, rows, arguments.rounds)
            share = round(work.flop / seconds / 1e12 / matrix, 4)
            parity = round(float((embeddings * exact).sum(axis=1).min()), 6)
            report("engine", **about, **work.rates(seconds), share=share, parity=parity)
            report("texts", **about, **work.rates(text_seconds))
            yield seconds, f"{engine.name}, {tokens} tokens, {slots} slots"


def time_tokens(
    engine: SentenceTransformerEngine, threads: ThreadPoolExecutor, work: Work, rows: list[Row], rounds: int
) -> tuple[float, Embeddings]:
    """Seconds from tokens to embeddings, and the embeddings in the order of the sentences."""
    batches = [TokenBatch.take([(work.tokens, int(i)) for i in row]) for row in rows]
    run = partial(threads.map, lambda batch: engine.outputs(batch, "sentence_embedding")[0], batches)
    seconds, parts = best_of(rounds, lambda: list(run()))
    return seconds, np.concatenate(parts)[np.argsort(np.concatenate(rows))]


def time_texts(
    engine: SentenceTransformerEngine, threads: ThreadPoolExecutor, work: Work, rows: list[Row], rounds: int
) -> float:
    """Seconds from texts to embeddings. This thread tokenizes, and may get ahead of the engine."""

    def run() -> None:
        futures = []
        for row in rows:
            batch = tokenize(work.tokenizer, [work.texts[i] for i in row])
            futures.append(threads.submit(engine.outputs, batch, "sentence_embedding"))
        for future in futures:
            future.result()

    return best_of(rounds, run)[0]


def encode_best(arguments: argparse.Namespace, work: Work, dtype: str) -> tuple[Embeddings, float]:
    """Embeddings of `encode`, and its seconds at the best batch size."""
    model = load(work, arguments.device).to(getattr(torch, dtype))
    encode = partial(model.encode, work.texts, normalize_embeddings=True, show_progress_bar=False)
    times = []
    for size in arguments.encode_sizes:
        seconds, embeddings = best_of(arguments.rounds, partial(encode, batch_size=size))
        report("encode", dtype=dtype, batch_size=size, **work.rates(seconds))
        times.append(seconds)
    return np.asarray(embeddings, dtype=np.float32), min(times)


def matrix_rate(device: str, dtype: str, token_counts: list[int]) -> float:
    """TFLOP/s of the fastest product (tokens, inputs) x (inputs, outputs), each at the median of five runs."""
    rates = []
    for tokens, (inputs, outputs) in product(token_counts, SHAPES):
        left, right = (torch.randn(size, inputs, device=device).to(getattr(torch, dtype)) for size in (tokens, outputs))
        multiply = partial(torch.nn.functional.linear, left, right)
        times = [seconds_of(device, 50 if device == "cuda" else 2, multiply) for _ in range(6)]
        rates.append(2 * tokens * inputs * outputs / median(times[1:]) / 1e12)
    return max(rates)


def seconds_of(device: str, calls: int, call: Callable[[], object]) -> float:
    """Seconds of one of `calls` calls in a row, so that launching a call overlaps with running the one before."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / calls


def best_of(rounds: int, call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the fastest call after an unmeasured one, and what the last call returned."""
    result = call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return min(times), result


def prepare(arguments: argparse.Namespace, folder: Path) -> Work:
    """Make random weights and a vocabulary. Speed does not depend on them, lengths depend on the vocabulary's size."""
    pairs = read_scored_pairs(arguments.data / KLUE_TRAIN)
    texts = list(dict.fromkeys(chain.from_iterable((pair.sentence1, pair.sentence2) for pair in pairs)))
    tokenizer = train_wordpiece(texts, VOCABULARY, LONGEST)
    texts = texts[: arguments.sentences]
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=VOCABULARY, num_hidden_layers=arguments.layers)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tokens = tokenize(tokenizer, texts)
    weights = sum(inputs * outputs for inputs, outputs in SHAPES) + 3 * HIDDEN * HIDDEN
    attention = 4 * HIDDEN * float((tokens.lengths.astype(np.int64) ** 2).sum())
    flop = arguments.layers * (2.0 * weights * len(tokens.ids) + attention)
    return Work(folder, texts, tokenizer, tokens, flop)


def load(work: Work, device: str) -> SentenceTransformer:
    modules = [Transformer(str(work.folder)), Pooling(HIDDEN, "mean"), Normalize()]
    return SentenceTransformer(modules=modules, device=device)


def tokenize(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> TokenBatch:
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts)
    lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int32)
    ids = np.fromiter(chain.from_iterable(encoding.ids for encoding in encodings), np.int32, lengths.sum())
    return TokenBatch(
        checkpoint=CheckpointRef("", "bi-encoder", None),
        ids=ids,
        types=np.zeros(len(ids), dtype=np.uint8),
        lengths=lengths,
        truncated=np.zeros(len(lengths), dtype=np.bool_),
    )


def cut(lengths: NDArray[np.int32], max_tokens: int) -> list[Row]:
    """Indices of the sentences of each batch, longest first; longest x count stays within `max_tokens`."""
    order = np.argsort(-lengths, kind="stable")
    rows = []
    while len(order):
        count = max(1, max_tokens // int(lengths[order[0]]))
        rows.append(order[:count])
        order = order[count:]
    return rows


def machine(device: str) -> dict[str, object]:
    packages = ("torch", "transformers", "sentence-transformers", "numpy")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cuda": torch.version.cuda,
        "cpu_threads": torch.get_num_threads(),
        "commit": commit.stdout.strip() or None,
        "versions": {name: version(name) for name in packages},
    }


def report(what: str, **figures: object) -> None:
    print(json.dumps({"what": what, **figures}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
