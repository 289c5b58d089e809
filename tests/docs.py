"""Find the commands in the documentation and the output shown below them."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.checkpoints.resolve import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "benchmarks" / "README.md",
    *(ROOT / "docs").glob("*.md"),
]


@dataclass(frozen=True)
class Example:
    """A command on a page: its place, its words without comments, and the lines of output below it."""

    place: str
    words: list[str]
    output: list[str]


def examples() -> Iterator[Example]:
    """All commands: the lines of console blocks that begin with `$ `, joined with their continuation lines."""
    for page in PAGES:
        blocks = page.read_text(encoding="utf-8").split("```console\n")[1:]
        for block in blocks:
            for part in f"\n{block.partition('```')[0]}".split("\n$ ")[1:]:
                command, *rest = part.replace("\\\n", " ").rstrip("\n").split("\n")
                name = f"{page.relative_to(ROOT)}: {command[:60]}"
                yield Example(name, shlex.split(command, comments=True), [line for line in rest if line])
