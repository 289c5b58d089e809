"""What QA scores without learning: the words beside those that the question repeats."""

import math
import re
from collections.abc import Sequence

NEAR = 8
"""How many words to either side count as a word's surroundings."""
MOST_ADDED = 2
"""How many words to either side may join the best one."""

_PARTICLE = re.compile("(에서는|에서|으로|까지|부터|에게|이다|은|는|이|가|을|를|의|에|로|와|과|도|만)$")


def lexical_answer(question: str, context: str) -> str:
    """The word that shares nothing with the question but has most of it around, and its like-minded neighbours.

    Shared are character bigrams; a final particle is cut off. Empty where every word shares something.
    """
    asked = _bigrams(question)
    words = context.split()
    shared = [len(_bigrams(word) & asked) for word in words]
    candidates = [position for position in range(len(words)) if not shared[position]]
    if not candidates:
        return ""
    best = max(candidates, key=lambda position: _nearness(shared, position))
    begin = end = best
    while best - begin < MOST_ADDED and begin > 0 and not shared[begin - 1] and not _closes(words[begin - 1]):
        begin -= 1
    while end - best < MOST_ADDED and end + 1 < len(words) and not shared[end + 1] and not _closes(words[end]):
        end += 1
    return _PARTICLE.sub("", " ".join(words[begin : end + 1]).strip(".,()'\"‘’“”《》<>"))


def _bigrams(text: str) -> set[str]:
    """Character bigrams within words."""
    return {word[i : i + 2] for word in text.lower().split() for i in range(len(word) - 1)}


def _nearness(shared: Sequence[int], position: int) -> float:
    """Shared bigrams around a position, each divided by the root of its distance in words."""
    around = range(max(0, position - NEAR), min(len(shared), position + NEAR + 1))
    return sum(shared[other] / math.sqrt(abs(other - position)) for other in around if other != position)


def _closes(word: str) -> bool:
    return word.endswith((".", ","))
