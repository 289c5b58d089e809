"""Sentence pairs for STS, each with the similarity score that annotators gave it."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipelines.text.files import read_csv, read_text, read_tsv

KLUE_TRAIN = "klue_sts/klue_sts_train.csv.xz"
KLUE_DEV = "klue_sts/klue-sts-v1.1_dev.json"

HIGHEST_SCORE = 5.0
"""The top of the scale of KLUE-STS (Park et al. 2021, https://arxiv.org/abs/2105.09680) and KorSTS; both start at 0."""
PARAPHRASE_FROM = 3.0
"""KLUE labels pairs with at least this score as paraphrases (its `binary-label`)."""


@dataclass(frozen=True)
class ScoredPair:
    """Two sentences and the annotators' similarity score, from 0 (unrelated) to 5 (same meaning)."""

    sentence1: str
    sentence2: str
    score: float

    @property
    def same(self) -> bool:
        """Whether KLUE counts the pair as a paraphrase."""
        return self.score >= PARAPHRASE_FROM


def scored_pair(first: object, second: object, score: object) -> ScoredPair:
    """Convert cells of a row. Raises ValueError if a sentence is blank or the score is not a number from 0 to 5."""
    for text in (first, second):
        if not str(text).strip():
            raise ValueError("a sentence is blank")
    try:
        value = float(str(score))
    except ValueError as error:
        raise ValueError(f"score {score!r} is not a number") from error
    if not 0 <= value <= 5:
        raise ValueError(f"score {score!r} is not from 0 to 5")
    return ScoredPair(str(first), str(second), value)


def read_scored_pairs(path: Path) -> list[ScoredPair]:
    """Read scored pairs. The suffix decides the format: `.json` is KLUE-STS, `.tsv` is KorSTS, `.csv` has the
    columns sentence1, sentence2 and label."""
    match path.name.removesuffix(".xz").rpartition(".")[2]:
        case "json":
            return read_klue(path)
        case "tsv":
            return read_korsts(path)
        case _:
            rows = read_csv(path)
            return [ScoredPair(row["sentence1"], row["sentence2"], float(row["label"])) for row in rows]


def read_klue(path: Path) -> list[ScoredPair]:
    """Read a KLUE-STS v1.1 file, taking the unrounded scores; the dev file has 519 pairs."""
    rows = json.loads(read_text(path))
    return [ScoredPair(row["sentence1"], row["sentence2"], row["labels"]["real-label"]) for row in rows]


def read_korsts(path: Path) -> list[ScoredPair]:
    """Read a KorSTS file."""
    return [ScoredPair(row[5], row[6], float(row[4])) for row in read_tsv(path)[1:]]


def normal_form(sentence: str) -> str:
    """The letters and digits of a sentence in lower case: equal for spellings that differ in spaces or punctuation."""
    return "".join(filter(str.isalnum, sentence.lower()))
