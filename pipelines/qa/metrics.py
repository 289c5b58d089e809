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
    return score_any(predicted, [(one,) for one in expected])


def score_any(predicted: Sequence[str], accepted: Sequence[tuple[str, ...]]) -> Score:
    """As `score`, where each question accepts several answers."""
    each = score_each(predicted, accepted)
    if not each:
        raise ValueError("no answers to score")
    return Score(*(sum(values) / len(each) for values in zip(*each, strict=True)))


def score_each(predicted: Sequence[str], accepted: Sequence[tuple[str, ...]]) -> list[tuple[bool, float]]:
    """(exact match, F1) of each answer, each with the accepted one that it is nearest to, as SQuAD's evaluation does.

    Raises ValueError if their numbers differ.
    """
    return [
        (max(exact_match(ours, one) for one in right), max(character_f1(ours, one) for one in right))
        for ours, right in zip(predicted, accepted, strict=True)
    ]
