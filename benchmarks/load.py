"""Load on a running server, closed loop: each of N callers sends its next request when its last was answered.

    python benchmarks/load.py --url http://127.0.0.1:8000 --data ../shared/data

Pairs are KLUE-STS dev's, in turn. Prints one JSON line per load: requests/s, p50 and p99 in ms over the time measured
(a tenth of it goes before, unmeasured), then pairs/s of one file of 1,000 pairs through /pred/file/ (best of three).
Client and server share the machine, so figures compare only within one run.
"""

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

import aiohttp

Pair = tuple[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=15.0)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.url, read_pairs(arguments.data), arguments.concurrency, arguments.seconds))


def read_pairs(data: Path) -> list[Pair]:
    rows = json.loads((data / "klue_sts" / "klue-sts-v1.1_dev.json").read_text(encoding="utf-8"))
    return [(row["sentence1"], row["sentence2"]) for row in rows]


async def measure(url: str, pairs: list[Pair], concurrencies: list[int], seconds: float) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        for concurrency in concurrencies:
            latencies = await closed_loop(session, itertools.cycle(pairs), concurrency, seconds)
            cuts = quantiles(latencies, n=100)
            report(
                load=f"{concurrency} callers, single pairs",
                requests=len(latencies),
                requests_per_s=round(len(latencies) / seconds, 1),
                p50_ms=round(cuts[49] * 1000, 2),
                p99_ms=round(cuts[98] * 1000, 2),
            )
        file = list(itertools.islice(itertools.cycle(pairs), 1000))
        best_s = min([await upload(session, file) for _ in range(3)])
        report(load="file of 1,000 pairs", pairs_per_s=round(1000 / best_s, 1), seconds=round(best_s, 3))


def report(**figures: object) -> None:
    print(json.dumps(figures, ensure_ascii=False), flush=True)


async def closed_loop(
    session: aiohttp.ClientSession, pairs: Iterator[Pair], concurrency: int, seconds: float
) -> list[float]:
    """Latencies in seconds of the requests that began within the time measured."""
    begin = time.perf_counter() + seconds / 10
    latencies: list[float] = []

    async def caller() -> None:
        while (sent := time.perf_counter()) < begin + seconds:
            left, right = next(pairs)
            async with session.post("/pred/sentences/", json={"sentence_1": left, "sentence_2": right}) as response:
                answer = await response.json()
                assert response.status == 200 and answer["sentence_2"] == right, answer
            if sent >= begin:
                latencies.append(time.perf_counter() - sent)

    await asyncio.gather(*(caller() for _ in range(concurrency)))
    return latencies


async def upload(session: aiohttp.ClientSession, pairs: list[Pair]) -> float:
    rows = [{"idx": i, "sentence1": left, "sentence2": right} for i, (left, right) in enumerate(pairs, 1)]
    form = aiohttp.FormData()
    form.add_field("file", json.dumps({"results": rows}).encode(), filename="pairs.json")
    begin = time.perf_counter()
    async with session.post("/pred/file/", data=form) as response:
        answer = await response.json()
    assert answer["sentences"] == [list(pair) for pair in pairs]
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
