"""Compare the routes for pairs and for embeddings, by turns, on a Munjang server of its own.

    python -m benchmarks.routes --checkpoint checkpoints/sts --data ../shared/data
    python -m benchmarks.routes --infinity

With `--infinity`, an Infinity server of two processes serves the shipped encoder, and the same client asks it for the
same embeddings in its turn.

Each request has the two texts of a pair. In each round every route gets a closed loop of the same length. Its rate is
divided by that of /pred/sentences/ in the same round, so that changes of the machine's speed cancel out. Prints a JSON
line for each round, and one with the medians of these ratios.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.clients import Client, session
from benchmarks.load import ROUTES
from benchmarks.loads import closed_loop
from benchmarks.models import prompt_of
from benchmarks.own_server import munjang
from benchmarks.pairs import Pair, read_pairs, stream
from benchmarks.processes import running
from benchmarks.servers import chosen
from pipelines.text.files import data_folder

WARM_UP_S = 3.0


@dataclass(frozen=True)
class Route:
    """A client, the servers that it asks in turn, and what it puts before each text."""

    client: type[Client]
    urls: list[str]
    prompt: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--checkpoint", default="checkpoints/sts")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--infinity", action="store_true", help="compare with Infinity, too")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder, ExitStack() as servers:
        url, scratch = f"http://127.0.0.1:{arguments.port}", Path(folder)
        command = munjang(arguments.checkpoint, arguments.port, scratch)
        servers.enter_context(running(command, f"{url}/readyz", scratch / "log"))
        routes = {name: Route(client, [url]) for name, client in ROUTES.items()}
        if arguments.infinity:
            routes["infinity"] = infinity(servers, arguments.data, arguments.port + 1, scratch)
        asyncio.run(measure(arguments, routes))


def infinity(servers: ExitStack, data: Path, port: int, scratch: Path) -> Route:
    """Start an Infinity server of the shipped encoder, which ends with `servers`. Raises ServerFailed."""
    (server,) = chosen(["infinity/2x1"])
    urls = []
    for number, command in enumerate(server.commands("shipped", data, port, scratch)):
        urls.append(f"http://127.0.0.1:{port + number}")
        servers.enter_context(running(command, f"{urls[-1]}{server.client.ready}", scratch / f"infinity-{number}"))
    return Route(server.client, urls, prompt_of("shipped"))


async def measure(arguments: argparse.Namespace, routes: Mapping[str, Route]) -> None:
    """Print the lines of all rounds, and the medians."""
    pairs = stream(read_pairs(arguments.data), arguments.seed)
    ratios: dict[str, list[float]] = {name: [] for name in routes}
    for number in range(-1, arguments.rounds):  # the first round only warms the server up
        seconds = arguments.seconds if number >= 0 else WARM_UP_S
        rates = await round_of(arguments.callers, seconds, routes, pairs, turn=number)
        if number >= 0:
            print(json.dumps({"round": number, "pairs_per_s": rates}), flush=True)
            for route, one in rates.items():
                ratios[route].append(one / rates["pairs"])
    print(json.dumps({"median_ratio": {route: round(median(found), 3) for route, found in ratios.items()}}))


async def round_of(
    callers: int, seconds: float, routes: Mapping[str, Route], pairs: Iterator[Pair], *, turn: int
) -> dict[str, float]:
    """The rate of each route. Each round begins with another one."""
    order = list(routes)
    rates = {}
    for number in range(len(order)):
        route = routes[name := order[(turn + number) % len(order)]]
        async with session(*route.urls) as http:
            outcome = await closed_loop(route.client(http, route.prompt).score, pairs, callers, seconds)
        rates[name] = outcome.figures(seconds)["pairs_per_s"]
    return {name: rates[name] for name in order}


if __name__ == "__main__":
    main()
