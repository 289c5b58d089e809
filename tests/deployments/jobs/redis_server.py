"""Debian's redis-server, on a free port of loopback."""

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.serve.server import free_port

START_S = 30.0


def why_not() -> str | None:
    """Why there can be no Redis; None if there can."""
    if importlib.util.find_spec("redis") is None:
        return "the package redis is not installed"
    return None if shutil.which("redis-server") else "redis-server is not installed (Debian: apt-get install redis)"


class RedisServer:
    """A server with a folder of its own, which it reads when it is started again. Skips the test if there is no Redis,
    except in CI.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        reason = why_not()
        if reason and os.environ.get("CI") != "true":
            pytest.skip(reason)
        assert reason is None, reason
        self._folder, self._options, self.port = folder, options, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        import redis

        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        """Start it, and wait until it has read its data."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        client, until_s = self.client(), time.monotonic() + START_S
        while not _answers(client):
            assert self._process.poll() is None, "redis-server has ended"
            assert time.monotonic() < until_s, f"redis-server does not answer within {START_S} s"
        client.close()

    def freeze(self) -> None:
        """Have it accept connections and answer nothing, until it is killed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)


def _answers(client: Any) -> bool:
    import redis

    try:
        return bool(client.ping())
    except redis.AuthenticationError:
        return True
    except redis.ConnectionError:
        time.sleep(0.02)
        return False
