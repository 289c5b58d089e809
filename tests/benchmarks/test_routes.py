import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import routes
from benchmarks.load import ROUTES
from benchmarks.loads import Outcome
from benchmarks.routes import Route, measure

CLIENTS = {client: route for route, client in ROUTES.items()}
DATA = Path(__file__).parents[1]


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The routes in the order in which they were measured. In each round the machine is half as fast as before."""
    order: list[str] = []
    relative = {"pairs": 1000, "openai": 500, "tei": 250}

    @asynccontextmanager
    async def session(*urls: str) -> AsyncIterator[Any]:
        yield urls

    async def closed_loop(ask: Any, pairs: object, callers: int, seconds: float) -> Outcome:
        order.append(CLIENTS[type(ask.__self__)])
        return Outcome(in_time=int(relative[order[-1]] * seconds) >> (len(order) - 1) // len(ROUTES))

    monkeypatch.setattr(routes, "session", session)
    monkeypatch.setattr(routes, "closed_loop", closed_loop)
    monkeypatch.setattr(routes, "read_pairs", lambda data: [("가", "나")])
    return order


def test_each_round_compares_the_routes_with_each_other_and_begins_with_another_one(
    order: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {name: Route(client, ["http://localhost"]) for name, client in ROUTES.items()}
    asyncio.run(measure(argparse.Namespace(data=DATA, seed=0, rounds=3, seconds=8.0, callers=1), asked))
    *rounds, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["round"] for one in rounds] == [0, 1, 2]
    assert rounds[0]["pairs_per_s"] == {"pairs": 500, "openai": 250, "tei": 125}  # after one round to warm up
    assert last == {"median_ratio": {"pairs": 1.0, "openai": 0.5, "tei": 0.25}}
    assert [sorted(order[start : start + 3]) for start in range(0, 12, 3)] == [sorted(ROUTES)] * 4
    assert len({order[start] for start in range(0, 12, 3)}) == 3
