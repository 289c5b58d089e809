"""The replicas of a Munjang server over time, as Serve's controller reports them through Ray's dashboard."""

import asyncio
import json
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

TOKEN = Path.home() / ".ray" / "auth_token"
EVERY_S = 1.0

States = dict[str, dict[str, int]]
"""By deployment and state, such as RUNNING, the number of replicas."""
Samples = list[tuple[float, States]]
"""States with their time in seconds."""


def serve_states(dashboard: str) -> States:
    """Ask the controller through the dashboard at this URL, with the token that Ray has made for this user."""
    headers = {"Authorization": f"Bearer {TOKEN.read_text().strip()}"} if TOKEN.exists() else {}
    request = urllib.request.Request(f"{dashboard}/api/serve/applications/", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return states_in(json.load(response))


def states_in(details: dict[str, Any]) -> States:
    """The states in the dashboard's answer, of all applications."""
    return {
        name: dict(Counter(replica["state"] for replica in deployment["replicas"]))
        for application in details["applications"].values()
        for name, deployment in application["deployments"].items()
    }


class Watch:
    """Asks for the states every `EVERY_S` seconds. Times are those of `time.perf_counter`."""

    def __init__(self, ask: Callable[[], States]) -> None:
        self.samples: Samples = []
        self._ask = ask
        self._sampled = asyncio.Event()

    @asynccontextmanager
    async def on(self) -> AsyncIterator["Watch"]:
        """Ask within the context."""
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self._watch())
            yield self
            task.cancel()

    async def until(self, is_so: Callable[[States], bool], within_s: float) -> float:
        """Wait for a next sample of which that is so. Returns its time. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while True:
                self._sampled.clear()
                await self._sampled.wait()
                at_s, states = self.samples[-1]
                if is_so(states):
                    return at_s

    async def _watch(self) -> None:
        while True:
            states = await asyncio.to_thread(self._ask)
            self.samples.append((time.perf_counter(), states))
            self._sampled.set()
            await asyncio.sleep(EVERY_S)


def changes(samples: Samples) -> Iterator[tuple[float, str, dict[str, int]]]:
    """Yield when the replicas of a deployment changed, with its name and its replicas by state."""
    before: States = {}
    for at_s, states in samples:
        for name, replicas in states.items():
            if before.get(name) != replicas:
                yield at_s, name, replicas
        before = states


def first_time(samples: Samples, is_so: Callable[[States], bool], since_s: float) -> float | None:
    """The time of the first sample from `since_s` on of which that is so; None if there is none."""
    return next((at_s for at_s, states in samples if at_s >= since_s and is_so(states)), None)


def has(replicas: int, *deployments: str) -> Callable[[States], bool]:
    """Whether each of these deployments has this number of running replicas, and none that starts or stops."""
    wanted = {"RUNNING": replicas} if replicas else {}
    return lambda states: all(states.get(name, {}) == wanted for name in deployments)


def most_running(samples: Samples, deployment: str) -> int:
    """The largest number of its replicas that ran at once."""
    return max((states.get(deployment, {}).get("RUNNING", 0) for _, states in samples), default=0)
