"""Measure how the time of the work grows: with the length of a context, with callers, and with the pairs of a file.

    python -m benchmarks.growth checkpoints/sts --data ../shared/data --output growth.jsonl

Starts a Munjang server without a cache, and writes JSON lines, and a plot beside them:

context   seconds of a lone question on a context of so many tokens, the median of several
callers   pairs/s and latencies of so many callers, who send their next pair when their last one is answered
pairs     seconds of one file of so many pairs
encoders  pairs/s of 64 callers with so many replicas of the encoder, each with one model thread, on its own server

All axes of the plot are logarithmic: where a line has the slope of the grey one, twice the work takes twice the time.
"""

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from benchmarks.clients import MunjangClient, Turns, post, session
from benchmarks.loads import closed_loop
from benchmarks.measure import file_one_way
from benchmarks.own_server import munjang
from benchmarks.pairs import Pair, read_pairs, stream, take
from benchmarks.processes import running
from pipelines.checkpoints.resolve import ROOT
from pipelines.format.manifest import read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.qa.data import KORQUAD, Example, read_squad
from pipelines.text.files import data_folder

CONTEXTS = (8, 32, 128, 384, 1_024, 2_048, 4_096, 8_192)
CALLERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
PAIRS = (1, 10, 100, 1_000, 10_000)
ENCODERS = (1, 2, 3, 4)
QUESTIONS = 5
PANELS = {
    "context": ("tokens of the context", "seconds"),
    "callers": ("callers", "pairs_per_s"),
    "pairs": ("pairs of the file", "seconds"),
    "encoders": ("replicas of the encoder", "pairs_per_s"),
}

Record = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--seconds", type=float, default=5.0, help="of each number of callers")
    parser.add_argument("--most", type=int, default=10_000, help="most pairs of a file")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    records: list[Record] = []
    with arguments.output.open("w", encoding="utf-8") as output:
        for record in measure(arguments):
            records.append(record)
            output.write(json.dumps(record) + "\n")
            output.flush()
    plot(records, arguments.output.with_suffix(".png"))


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield all records."""
    contexts = list(contexts_of(arguments.data, CONTEXTS))
    yield from on_server(arguments, None, lambda http, pairs: growth(http, pairs, contexts, arguments))
    for count in ENCODERS:
        yield from on_server(arguments, count, lambda http, pairs, count=count: encoders(http, pairs, count, arguments))


def on_server(arguments: argparse.Namespace, replicas: int | None, load: Any) -> list[Record]:
    """The records of a load on a server, if `replicas` is given with so many replicas of the encoder."""

    async def run() -> list[Record]:
        pairs = stream(read_pairs(arguments.data), seed=0)
        async with session(url) as http:
            await closed_loop(MunjangClient(http).score, pairs, 64, arguments.seconds)  # warms up
            return [record async for record in load(http, pairs)]

    with TemporaryDirectory() as scratch:
        sts = {} if replicas is None else {"engine": {"threads": 1, "slots": 1}}
        command = munjang(arguments.checkpoint, arguments.port, Path(scratch), sts)
        if replicas is not None:
            fix_replicas(Path(scratch) / "serve_config.yaml", replicas)
        url = f"http://127.0.0.1:{arguments.port}"
        with running(command, f"{url}/readyz", Path(scratch) / "log"):
            return asyncio.run(run())


def fix_replicas(path: Path, replicas: int) -> None:
    """Write into a configuration that the encoder has so many replicas."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    bounds = {"min_replicas": replicas, "max_replicas": replicas}
    config["applications"][0]["deployments"] = [{"name": "StsEncoder", "autoscaling_config": bounds}]
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")


async def growth(
    http: Turns, pairs: Iterator[Pair], contexts: Sequence[tuple[int, list[Record]]], arguments: argparse.Namespace
) -> AsyncIterator[Record]:
    """Yield the records of contexts, callers and files."""
    client = MunjangClient(http)
    for tokens, questions in contexts:
        yield {"panel": "context", "x": tokens, "seconds": median([await seconds_of(http, one) for one in questions])}
    for callers in CALLERS:
        outcome = await closed_loop(client.score, pairs, callers, arguments.seconds)
        yield {"panel": "callers", "x": callers, **outcome.figures(arguments.seconds)}
    for count in PAIRS:
        if count <= arguments.most:
            file = await file_one_way(client, take(pairs, count), "one request")
            yield {"panel": "pairs", "x": count, "seconds": file["seconds"]}


async def encoders(
    http: Turns, pairs: Iterator[Pair], count: int, arguments: argparse.Namespace
) -> AsyncIterator[Record]:
    """Yield the record of 64 callers."""
    outcome = await closed_loop(MunjangClient(http).score, pairs, 64, 2 * arguments.seconds)
    yield {"panel": "encoders", "x": count, **outcome.figures(2 * arguments.seconds)}


async def seconds_of(http: Turns, body: Record) -> float:
    """The seconds of one question."""
    begin_s = time.perf_counter()
    await post(http, "/api", json=body)
    return time.perf_counter() - begin_s


def contexts_of(data: Path, sizes: Sequence[int]) -> Iterator[tuple[int, list[Record]]]:
    """For each size, questions on contexts of about so many tokens, each of them of other paragraphs of KorQuAD."""
    folder = ROOT / "checkpoints" / "qa"
    tokenizer = TextTokenizer.load(folder, read_manifest(folder))
    examples = [example for article in read_squad(data / KORQUAD) for example in article]
    text = " ".join(dict.fromkeys(example.context for example in examples))
    words = itertools.cycle(text.split())
    for size in sizes:
        yield size, [question(examples[number], words, size, tokenizer) for number in range(QUESTIONS)]


def question(example: Example, words: Iterator[str], size: int, tokenizer: TextTokenizer) -> Record:
    """A question on the next words, of which there are enough for so many tokens."""
    context: list[str] = []
    tokens = 0
    while tokens < size:
        context.append(next(words))
        tokens += int(tokenizer.passages([context[-1]]).lengths[0]) - 2  # without the two special tokens
    return {"question": example.question, "context": " ".join(context)}


def plot(records: Sequence[Record], path: Path) -> None:
    """Draw a panel for each kind of record."""
    from matplotlib.figure import Figure  # imported here because the measurements need no matplotlib

    figure = Figure(figsize=(12, 8), layout="constrained")
    for axis, (panel, (label, value)) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        points = [(record["x"], record[value]) for record in records if record["panel"] == panel]
        if points:
            xs, ys = zip(*points, strict=True)
            axis.loglog(xs, [ys[-1] * x / xs[-1] for x in xs], color="lightgrey")
            axis.loglog(xs, ys, marker="o")
        axis.set(xlabel=label, ylabel=value.replace("_per_s", "/s"))
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
