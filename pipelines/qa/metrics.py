"""The figures of KorQuAD: exact match, and F1 over characters, which suits Korean better than F1 over words.

They are defined by Lim et al. 2019 (https://arxiv.org/abs/1909.07005) and ignore case, punctuation and quotation marks.
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
    """Means over all questions, from 0 to 1."""

    exact_match: float
    f1: float


def normalize(answer: str) -> str:
    """Convert to lower case, replace brackets and quotes by spaces, remove punctuation and repeated spaces."""
    return " ".join(answer.translate(_TO_SPACES).lower().translate(_TO_NOTHING).split())


def exact_match(predicted: str, expected: str) -> bool:
    """Whether the two answers are the same after normalization."""
    return normalize(predicted) == normalize(expected)


def character_f1(predicted: str, expected: str) -> float:
    """F1 of the two answers as multisets of characters, without spaces; 0 if they share no character.

    It is 1 if both are empty, as in the evaluation of SQuAD 2.0: both say that there is no answer.
    """
    ours = Counter(normalize(predicted).replace(" ", ""))
    theirs = Counter(normalize(expected).replace(" ", ""))
    if not ours and not theirs:
        return 1.0
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def score(predicted: Sequence[str], expected: Sequence[str]) -> Score:
    """Both figures for answers in the same order. Raises ValueError if the lists are empty or differ in length."""
    return score_any(predicted, [(one,) for one in expected])


def score_any(predicted: Sequence[str], accepted: Sequence[tuple[str, ...]]) -> Score:
    """Like `score`, but each question has several accepted answers."""
    each = score_each(predicted, accepted)
    if not each:
        raise ValueError("no answers to score")
    return Score(*(sum(values) / len(each) for values in zip(*each, strict=True)))


def score_each(predicted: Sequence[str], accepted: Sequence[tuple[str, ...]]) -> list[tuple[bool, float]]:
    """(exact match, F1) of each answer: the highest over the accepted answers, as in the evaluation of SQuAD.

    Raises ValueError if the lists differ in length.
    """
    return [
        (max(exact_match(ours, one) for one in right), max(character_f1(ours, one) for one in right))
        for ours, right in zip(predicted, accepted, strict=True)
    ]
