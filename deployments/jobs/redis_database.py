"""The tables of the ledger in Redis, which processes on several machines open at the same time.

Transactions are optimistic. Each job has a version, and so have the lists of files and jobs. A transaction notes the
version of whatever it is going to read. At its end one script, which Redis runs without interruption, compares these
versions with the present ones. If they are the same it writes everything and changes the versions; otherwise it writes
nothing, and the transaction is repeated. So a process may be killed at any point, and none waits for another one.
"""

import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deployments.jobs.redis_tables import RedisTables
from deployments.jobs.tables import Tables
from pipelines.errors import ConfigError, StorageFailed, StorageFull

CONNECT_S = 2.0
ANSWER_S = 5.0
BUSY_S = 10.0
PAUSE_S = 0.05
COMMIT = """
-- KEYS: versions. ARGV: those that were read, the next one, and the commands, each behind the number of its words.
for i, key in ipairs(KEYS) do
    if (redis.call('GET', key) or '') ~= ARGV[i] then return 0 end
end
local at = #KEYS + 2
if at <= #ARGV then
    for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[#KEYS + 1]) end
end
while at <= #ARGV do
    local last = at + tonumber(ARGV[at])
    redis.call(unpack(ARGV, at + 1, last))
    at = last + 1
end
return 1
"""
T = TypeVar("T")


class RedisDatabase:
    """See `Database`.

    url       redis://HOST:PORT/NUMBER, or rediss:// for TLS, with a user if there is one. Raises ConfigError for
              another one, and for a password in it.
    password  None if Redis asks for none
    """

    def __init__(self, url: str, password: str | None = None) -> None:
        self._client = client_of(url, password)
        self._commit = self._client.register_script(COMMIT)

    def run(self, body: Callable[[Tables], T]) -> T:
        """See `Database.run`. Repeats a transaction for `BUSY_S` at most.

        The pauses are random, so that transactions on one job get out of each other's way. They do not grow: those that
        have waited long would lose to new ones.
        """
        until_s = time.monotonic() + BUSY_S
        with redis_errors():
            while True:
                tables = RedisTables(self._client)
                try:
                    result = body(tables)
                except redis.RedisError:
                    raise
                except Exception:
                    if self._commits(tables.watched, []):
                        raise
                else:
                    if self._commits(tables.watched, tables.writes):
                        return result
                if time.monotonic() > until_s:
                    raise StorageFailed("Busy")
                time.sleep(random.uniform(0, PAUSE_S))

    def _commits(self, watched: dict[str, str], writes: list[tuple[str | float, ...]]) -> bool:
        """Write if nothing that was read has changed. An error after the script was sent leaves open which it was.

        The script is not sent again after such an error: the second time it would see its own changes.
        """
        words = [word for command in writes for word in (len(command), *command)]
        return bool(self._commit(keys=list(watched), args=[*watched.values(), secrets.token_hex(8), *words]))


def client_of(url: str, password: str | None) -> Any:
    """A client that repeats nothing by itself and waits for answers for a few seconds at most. Raises ConfigError."""
    try:
        options = redis.connection.parse_url(url)
    except ValueError:
        raise ConfigError("jobs.database must be a URL like redis://HOST:6379/0") from None
    if "password" in options:
        raise ConfigError("jobs.database must not contain a password; it belongs in $MUNJANG_REDIS_PASSWORD")
    return redis.Redis.from_url(
        url,
        password=password,
        decode_responses=True,
        socket_connect_timeout=CONNECT_S,
        socket_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 0),
    )


@contextmanager
def redis_errors() -> Iterator[None]:
    """Convert errors of Redis and of the connection to StorageFull or StorageFailed, without their messages."""
    try:
        yield
    except redis.exceptions.OutOfMemoryError:
        raise StorageFull from None
    except redis.RedisError as error:
        raise StorageFailed(type(error).__name__) from None
