"""Measure a store of passages: the speed of building and searching, and the memory.

    python -m benchmarks.chat_store --data ../shared/data

The documents are KorQuAD's paragraphs, followed by as many NSMC film reviews as needed, about 2,000 characters of them
in a document. The questions are KorQuAD's. Prints one JSON line:

build    chunks/s of a store of 10,000 chunks (cutting, embedding, index and file); seconds for one of 100,000
search   five passages of 100,000 chunks, by words and meaning together: ms of single searches (p50, p99), searches/s
         with 32 at a time, and CPU ms of one search in both cases; the questions are embedded before
open     seconds to read and check the store of 100,000 chunks
memory   resident MiB of the process that searches, before and after the store is opened

A new process with one BLAS thread searches, as in a Ray replica with less than one CPU.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import psutil
from numpy.typing import NDArray

from pipelines.chat.store.chunks import MAX_CHARACTERS, chunks_of
from pipelines.chat.store.documents import Document
from pipelines.chat.store.store import Store
from pipelines.text.files import data_folder, read_text, read_tsv

KORQUAD, REVIEWS = "korquad_v1/KorQuAD_v1.0_dev.json.xz", "nsmc/nsmc_raw_reviews.tsv.xz"
DOCUMENT_CHARACTERS = 2000
PASSAGES = 5
AT_ONCE = 32

Result = TypeVar("Result")
Queries = list[tuple[str, NDArray[np.float32]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/sts"))
    parser.add_argument("--build-chunks", type=int, default=10_000)
    parser.add_argument("--search-chunks", type=int, default=100_000)
    parser.add_argument("--searches", type=int, default=1000)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read by the new process
    with TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(1) as process:
        result = build_both(arguments, Path(folder))
        queries = embedded_questions(arguments)
        result |= process.apply(measure, (Path(folder) / "large", queries))
    print(json.dumps(result))


def build_both(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    from pipelines.chat.embedding import Embedder
    from pipelines.chat.store.build import build

    embedder = Embedder.load(arguments.checkpoint)
    seconds = {}
    for name, count in (("small", arguments.build_chunks), ("large", arguments.search_chunks)):
        documents = list(documents_of(arguments.data, count))
        begin = time.perf_counter()
        build(documents, folder / name, embedder)
        seconds[name] = time.perf_counter() - begin
    return {
        "build_chunks_per_s": round(arguments.build_chunks / seconds["small"]),
        "build_large_s": round(seconds["large"], 1),
    }


def documents_of(data: Path, chunks: int) -> Iterator[Document]:
    """Documents with exactly `chunks` distinct chunks; the last document ends after the last chunk."""
    seen: set[str] = set()
    for document in all_documents(data):
        for chunk in chunks_of(document, MAX_CHARACTERS):
            seen.add(chunk.text)
            if len(seen) == chunks:
                yield Document(document.name, document.text[: chunk.end])
                return
        yield document
    raise SystemExit(f"the texts give no more than {len(seen)} chunks")


def all_documents(data: Path) -> Iterator[Document]:
    for article in json.loads(read_text(data / KORQUAD))["data"]:
        for number, paragraph in enumerate(article["paragraphs"]):
            yield Document(f"{article['title']}#{number}", paragraph["context"])
    held: list[str] = []
    for number, row in enumerate(read_tsv(data / REVIEWS)[1:]):
        held.append(row[3])
        if sum(map(len, held)) >= DOCUMENT_CHARACTERS:
            yield Document(f"reviews#{number}", "\n".join(held))
            held = []


def embedded_questions(arguments: argparse.Namespace) -> Queries:
    from pipelines.chat.embedding import Embedder

    articles = json.loads(read_text(arguments.data / KORQUAD))["data"]
    asked = [one["question"] for article in articles for paragraph in article["paragraphs"] for one in paragraph["qas"]]
    texts = asked[:: max(1, len(asked) // arguments.searches)][: arguments.searches]
    return list(zip(texts, Embedder.load(arguments.checkpoint).embed(texts, "query"), strict=True))


def measure(folder: Path, queries: Queries) -> dict[str, float]:
    before = resident_mib()
    return asyncio.run(_measure(folder, queries)) | {"memory_before_mib": before}


async def _measure(folder: Path, queries: Queries) -> dict[str, float]:
    begin = time.perf_counter()
    store = await Store.open(folder)
    open_s = time.perf_counter() - begin

    async def one_by_one() -> list[float]:
        seconds = []
        for text, vector in queries:
            begin = time.perf_counter()
            await store.search(text, vector, PASSAGES)
            seconds.append(time.perf_counter() - begin)
        return seconds

    async def all_at_once() -> None:
        waiting = iter(queries)

        async def caller() -> None:
            for text, vector in waiting:
                await store.search(text, vector, PASSAGES)

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))

    await all_at_once()  # to warm up
    alone, _, alone_cpu_s = await timed(one_by_one)
    _, busy_s, busy_cpu_s = await timed(all_at_once)
    return {
        "open_s": round(open_s, 2),
        "search_p50_ms": round(float(np.percentile(alone, 50)) * 1e3, 2),
        "search_p99_ms": round(float(np.percentile(alone, 99)) * 1e3, 2),
        "search_cpu_ms": round(alone_cpu_s / len(queries) * 1e3, 2),
        f"searches_per_s_of_{AT_ONCE}": round(len(queries) / busy_s),
        f"search_cpu_ms_of_{AT_ONCE}": round(busy_cpu_s / len(queries) * 1e3, 2),
        "memory_mib": resident_mib(),
    }


async def timed(run: Callable[[], Awaitable[Result]]) -> tuple[Result, float, float]:
    """The result, its wall-clock seconds, and its CPU seconds."""
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    result = await run()
    return result, time.perf_counter() - begin_s, time.process_time() - begin_cpu_s


def resident_mib() -> int:
    return int(psutil.Process().memory_info().rss) >> 20


if __name__ == "__main__":
    main()
