"""KorQuAD's own figures: exact match, and F1 over characters, which is fairer than words in Korean.

Defined by Lim et al. 2019 (https://arxiv.org/abs/1909.07005): case, punctuation and quotation marks do not count.
"""

import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

BRACKETS_AND_QUOTES = "'\"《》<>〈〉()‘’"
_TO_SPACES = str.maketrans(dict.fromkeys(BRACKETS_AND_QUOTES, " "))
_TO_NOTHING = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Score:
    """Means over all questions, 0 to 1."""

    exact_match: float
    f1: float


def normalize(answer: str) -> str:
    """Lower case, brackets and quotes turned to spaces, punctuation gone, single spaces."""
    return " ".join(answer.translate(_TO_SPACES).lower().translate(_TO_NOTHING).split())


def exact_match(predicted: str, expected: str) -> bool:
    """Whether the two are the same once normalised."""
    return normalize(predicted) == normalize(expected)


def character_f1(predicted: str, expected: str) -> float:
    """F1 of the two answers' characters as multisets, spaces left out; 0 where nothing is shared.

    1 where both have none, as in SQuAD 2.0's evaluation: both say that there is no answer.
    """
    ours = Counter(normalize(predicted).replace(" ", ""))
    theirs = Counter(normalize(expected).replace(" ", ""))
    if not ours and not theirs:
        return 1.0
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def score(predicted: Sequence[str], expected: Sequence[str]) -> Score:
    """Both figures over answers in the same order. Raises ValueError if their numbers differ or are 0."""
    pairs = list(zip(predicted, expected, strict=True))
    if not pairs:
        raise ValueError("no answers to score")
    matches = sum(exact_match(ours, theirs) for ours, theirs in pairs)
    return Score(matches / len(pairs), sum(character_f1(ours, theirs) for ours, theirs in pairs) / len(pairs))
