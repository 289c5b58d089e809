"""The sentence pairs of KLUE-STS train, each sent once, so that neither caches nor removal of duplicates can help."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

from pipelines.sts.data import KLUE_TRAIN
from pipelines.text.files import read_csv

Pair = tuple[str, str]


def read_pairs(data: Path) -> list[Pair]:
    """The 11,661 distinct pairs of KLUE-STS train, in the order of the file. 29 sentences are in more than one pair."""
    rows = read_csv(data / KLUE_TRAIN)
    return list(dict.fromkeys((row["sentence1"], row["sentence2"]) for row in rows))


def stream(pairs: list[Pair], seed: int) -> Iterator[Pair]:
    """Yield all pairs in a seeded order, then endlessly all of them again with their words rotated by one more.

    So the pairs after the first 11,661 are new texts of the same lengths; only sentences of one word are repeated.
    """
    shuffled = random.Random(seed).sample(pairs, len(pairs))
    for turn in itertools.count():
        yield from ((rotated(left, turn), rotated(right, turn)) for left, right in shuffled)


def rotated(sentence: str, turn: int) -> str:
    """The sentence with its first `turn` words moved to its end."""
    words = sentence.split()
    start = turn % max(1, len(words))
    return sentence if start == 0 else " ".join(words[start:] + words[:start])


def take(pairs: Iterator[Pair], count: int) -> list[Pair]:
    """The next `count` pairs."""
    return list(itertools.islice(pairs, count))
