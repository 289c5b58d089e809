"""Measure the persona chat: its own cost without the provider, and the effect of a hanging provider on other requests.

    python -m benchmarks.chat                      # a provider that answers at once, then one that hangs
    python -m benchmarks.chat --without-provider   # the default, answers without a language model
    python -m benchmarks.chat --model small        # questions embedded by a BERT of 4 layers x 256

Starts a provider that answers at once, and Munjang with the sample store, and prints one JSON line. Every question is
asked once, so no cache helps. Single pairs are scored at a fixed rate, in turns with and without hanging chats. Client,
provider and server share the machine.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks import models
from benchmarks.clients import Session, post, session
from benchmarks.loads import Outcome, arrivals, closed_loop, during, open_loop
from benchmarks.processes import Command, running
from benchmarks.provider import HANG
from benchmarks.servers import OWN_CLUSTER, ROOT, merged
from pipelines.chat.recall import read_questions
from pipelines.chat.sample import QUESTIONS, SAMPLE_STORE
from pipelines.text.files import data_folder

KEY = "sk-benchmark"
PATIENCE_S = 20.0
HANGING_PROVIDER_S = 45.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without-provider", action="store_true")
    parser.add_argument("--model", choices=models.NAMES, default="shipped", help="model that embeds the questions")
    parser.add_argument(
        "--data", type=Path, default=data_folder(), help="folder of the data sets that other models are made from"
    )
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of each load")
    parser.add_argument("--hanging", type=int, default=200, help="number of chats that hang")
    parser.add_argument("--rate", type=float, default=20.0, help="single pairs/s while chats hang")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of single pairs with and without hanging chats")
    print(json.dumps(asyncio.run(measure(parser.parse_args()))))


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    ports = free_ports(2)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        scratch = Path(folder)
        instant = Command([sys.executable, "-m", "benchmarks.provider", str(ports[0])], ROOT)
        url = f"http://127.0.0.1:{ports[0]}"
        stack.enter_context(running(instant, url, scratch / "provider.log"))
        encoder = models.imported(arguments.model, arguments.data)
        munjang = command(scratch, ports[1], encoder, None if arguments.without_provider else f"{url}/v1")
        server = f"http://127.0.0.1:{ports[1]}"
        stack.enter_context(running(munjang, f"{server}/readyz", ROOT / "benchmarks" / ".logs" / "chat.log"))
        async with session(server) as http, session(url) as alone:
            figures = {"model": arguments.model, "provider": not arguments.without_provider}
            figures |= await chats(http, arguments)
            if not arguments.without_provider:
                figures["provider_alone"] = await provider_alone(alone, arguments.seconds)
                figures["pairs"] = await pairs_beside(http, arguments)
            return figures


def command(scratch: Path, port: int, encoder: Path, provider: str | None) -> Command:
    """The command that starts Munjang with the sample store, which it builds."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    provider_settings = (
        {"base_url": provider, "model": "instant", "timeout_s": HANGING_PROVIDER_S} if provider else None
    )
    chat = {"stores": str(scratch / "stores"), "provider": provider_settings}
    application = config["applications"][0]
    sts = {"checkpoint": str(encoder), "cache_bytes": 0}
    application["args"] = merged(application["args"], {"chat": chat, "sts": sts})
    path = scratch / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return Command([sys.executable, "-m", "deployments", "serve", str(path)], ROOT, OWN_CLUSTER)


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


def prompts() -> Iterator[str]:
    """The questions of the sample, over and over, each with another number behind it."""
    questions = [one.question for one in read_questions(QUESTIONS)]
    return (f"{question} ({number})" for number, question in enumerate(itertools.cycle(questions)))


async def ask(http: Session, prompt: str) -> Any:
    body = {"prompt": prompt, "api_key": KEY, "db_path": SAMPLE_STORE}
    return await post(http, "/chat/", json=body)


async def chats(http: Session, arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of closed loops, by number of callers."""
    asked = prompts()
    await closed_loop(lambda prompt: ask(http, prompt), asked, max(arguments.concurrency), 2.0)
    loads = {}
    for callers in arguments.concurrency:
        outcome = await closed_loop(lambda prompt: ask(http, prompt), asked, callers, arguments.seconds)
        loads[f"{callers} callers"] = figures_of(outcome, arguments.seconds)
    return {"chat": loads}


async def provider_alone(http: Session, seconds: float) -> dict[str, Any]:
    """Figures of the provider alone, asked by the same client."""

    async def complete(prompt: str) -> Any:
        body = {"model": "instant", "messages": [{"role": "user", "content": prompt}]}
        return await post(http, "/v1/chat/completions", json=body)

    return figures_of(await closed_loop(complete, prompts(), 1, min(seconds, 3.0)), min(seconds, 3.0))


async def pairs_beside(http: Session, arguments: argparse.Namespace) -> dict[str, Any]:
    """Latencies of single pairs with and without hanging chats, over all rounds. The two take turns at being first."""
    numbers = itertools.count()
    outcomes: dict[int, list[Outcome]] = {0: [], arguments.hanging: []}
    for number in range(arguments.rounds):
        for chats in sorted(outcomes, reverse=number % 2 == 1):
            async with hanging(http, chats):
                outcomes[chats].append(await pairs(http, numbers, arguments))
    figures = {
        f"{chats} chats hang": figures_of(pooled(rounds), arguments.rounds * arguments.seconds)
        for chats, rounds in outcomes.items()
    }
    p99_ms = [[figures_of(one, arguments.seconds)["p99_ms"] for one in rounds] for rounds in outcomes.values()]
    return {"rate": arguments.rate, **figures, "p99_ms_of_rounds": p99_ms}


async def pairs(http: Session, numbers: Iterator[int], arguments: argparse.Namespace) -> Outcome:
    async def score(pair: Any) -> Any:
        return await post(http, "/pred/sentences/", json={"sentence_1": pair[0], "sentence_2": pair[1]})

    unique = ((f"{number}번 문장입니다.", f"문장 {number}도 있습니다.") for number in numbers)
    due = during(arrivals(arguments.rate, seed=0), arguments.seconds)
    return await open_loop(score, unique, due, PATIENCE_S)


def pooled(outcomes: list[Outcome]) -> Outcome:
    """Join outcomes into one."""
    return Outcome(
        latencies=[latency for outcome in outcomes for latency in outcome.latencies],
        refused=sum(outcome.refused for outcome in outcomes),
        unanswered=sum(outcome.unanswered for outcome in outcomes),
        in_time=sum(outcome.in_time for outcome in outcomes),
    )


@contextlib.asynccontextmanager
async def hanging(http: Session, count: int) -> AsyncIterator[None]:
    """Keep `count` chats waiting for the provider within the context."""
    waiting = [asyncio.create_task(ask(http, f"{number}: {HANG}")) for number in range(count)]
    if not waiting:
        yield
        return
    done, _ = await asyncio.wait(waiting, timeout=3.0)  # until all have reached the provider
    if done:
        raise RuntimeError(f"{len(done)} of {count} chats did not hang: {done.pop()}")
    try:
        yield
        if ended := [task for task in waiting if task.done()]:
            raise RuntimeError(f"{len(ended)} of {count} chats no longer hang: {ended[0]}")
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        await asyncio.sleep(1.0)


def figures_of(outcome: Outcome, seconds: float) -> dict[str, float]:
    """The figures of an outcome, with its rate named as requests instead of pairs."""
    figures = outcome.figures(seconds)
    return {"requests_per_s": figures.pop("pairs_per_s"), **figures}


if __name__ == "__main__":
    main()
