"""Measure a running Munjang server, and print one JSON line per load.

    python -m benchmarks.load --url http://127.0.0.1:8000 --data ../shared/data --rates 100 200

The pairs are those of KLUE-STS train, each sent once. Where client and server share a machine, compare figures only
within one run.
"""

import argparse
import asyncio
import json
from pathlib import Path

from benchmarks.clients import MunjangClient, OpenAiClient, TeiClient, session
from benchmarks.measure import Plan, measure
from benchmarks.pairs import read_pairs, stream
from pipelines.text.files import data_folder

ROUTES = {"pairs": MunjangClient, "openai": OpenAiClient, "tei": TeiClient}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--route", choices=ROUTES, default="pairs", help="the route that gets the two texts of a pair")
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rates", type=float, nargs="*", default=[], help="open loops, pairs/s")
    parser.add_argument("--file", type=int, default=1000, help="pairs of the file")
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(load(parser.parse_args()))


async def load(arguments: argparse.Namespace) -> None:
    plan = Plan(
        seconds=arguments.seconds,
        warm_up_s=2.0,
        callers=tuple(arguments.concurrency),
        rates=tuple(arguments.rates),
        shares=(),
        poisson=True,
        file_pairs=arguments.file,
        large_file_pairs=0,
        seed=arguments.seed,
    )
    async with session(arguments.url) as http:
        pairs = stream(read_pairs(arguments.data), arguments.seed)
        async for record in measure(ROUTES[arguments.route](http), pairs, plan):
            print(json.dumps(record, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
