"""Compare the routes for pairs and for embeddings, by turns, on a Munjang server of its own.

    python -m benchmarks.routes --checkpoint checkpoints/sts --data ../shared/data

Each request has the two texts of a pair. In each round every route gets a closed loop of the same length. Its rate is
divided by that of /pred/sentences/ in the same round, so that changes of the machine's speed cancel out. Prints a JSON
line for each round, and one with the medians of these ratios.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.clients import session
from benchmarks.load import ROUTES
from benchmarks.loads import closed_loop
from benchmarks.own_server import munjang
from benchmarks.pairs import Pair, read_pairs, stream
from benchmarks.processes import running
from pipelines.text.files import data_folder

WARM_UP_S = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--checkpoint", default="checkpoints/sts")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        url, scratch = f"http://127.0.0.1:{arguments.port}", Path(folder)
        with running(munjang(arguments.checkpoint, arguments.port, scratch), f"{url}/readyz", scratch / "log"):
            asyncio.run(measure(arguments, url))


async def measure(arguments: argparse.Namespace, url: str) -> None:
    """Print the lines of all rounds, and the medians."""
    pairs = stream(read_pairs(arguments.data), arguments.seed)
    ratios: dict[str, list[float]] = {route: [] for route in ROUTES}
    for number in range(-1, arguments.rounds):  # the first round only warms the server up
        seconds = arguments.seconds if number >= 0 else WARM_UP_S
        rates = await round_of(arguments.callers, seconds, url, pairs, turn=number)
        if number >= 0:
            print(json.dumps({"round": number, "pairs_per_s": rates}), flush=True)
            for route, one in rates.items():
                ratios[route].append(one / rates["pairs"])
    print(json.dumps({"median_ratio": {route: round(median(found), 3) for route, found in ratios.items()}}))


async def round_of(callers: int, seconds: float, url: str, pairs: Iterator[Pair], *, turn: int) -> dict[str, float]:
    """The rate of each route. Each round begins with another one."""
    order = list(ROUTES)
    rates = {}
    for number in range(len(order)):
        route = order[(turn + number) % len(order)]
        async with session(url) as http:
            outcome = await closed_loop(ROUTES[route](http).score, pairs, callers, seconds)
        rates[route] = outcome.figures(seconds)["pairs_per_s"]
    return {route: rates[route] for route in order}


if __name__ == "__main__":
    main()
