"""One transaction on Redis: what it has read, and what it is going to write."""

from typing import Any

PREFIX = "{munjang-jobs}:"
"""All keys begin with it. What is in braces decides, in Redis Cluster, where a key is: these are all in one place."""
LISTS = "lists"
"""What the version of the lists of files and jobs is named after; that of a job is named after its id."""


def key_of(kind: str, *names: str) -> str:
    """The key in Redis of a table, for a job or an owner where there is one for each."""
    return PREFIX + ":".join((kind, *names))


class RedisTransaction:
    """See the module.

    client   reads at once
    watched  the versions of what was read, by their keys
    writes   the commands, in order
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.watched: dict[str, str] = {}
        self.writes: list[tuple[str | float, ...]] = []

    def watch(self, name: str) -> None:
        """Have the transaction repeated if the lists or a job change before its end. Call it before reading them."""
        key = key_of("version", name)
        if key not in self.watched:
            self.watched[key] = self.client.get(key) or ""

    def write(self, *command: str | float) -> None:
        """Add a command of Redis, word by word. Whoever changes the lists or a job must have watched them."""
        self.writes.append(command)

    def read_all(self, *commands: tuple[str | float, ...]) -> list[Any]:
        """The answers to several commands, which are sent together."""
        pipeline = self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return list(pipeline.execute())
