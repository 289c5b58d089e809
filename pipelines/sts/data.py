"""Sentence pairs for STS, and how alike annotators found them."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipelines.text.files import read_csv, read_text, read_tsv

KLUE_TRAIN = "klue_sts/klue_sts_train.csv.xz"
KLUE_DEV = "klue_sts/klue-sts-v1.1_dev.json"

BEST_SCORE = 5.0
"""Of KLUE-STS's scale, which begins at 0 (Park et al. 2021, https://arxiv.org/abs/2105.09680), and of KorSTS's."""
SAME_FROM = 3.0
"""KLUE's border: pairs scored at least this mean the same (its `binary-label`)."""


@dataclass(frozen=True)
class ScoredPair:
    """Two sentences and how alike annotators found them, 0 (unrelated) to 5 (same meaning)."""

    sentence1: str
    sentence2: str
    score: float

    @property
    def same(self) -> bool:
        """Whether KLUE counts the pair as a paraphrase."""
        return self.score >= SAME_FROM


def scored_pair(first: object, second: object, score: object) -> ScoredPair:
    """A row from the cells of any file. Raises ValueError where the score is none, or there is no text."""
    for text in (first, second):
        if not str(text).strip():
            raise ValueError("a sentence is blank")
    try:
        value = float(str(score))
    except ValueError as error:
        raise ValueError(f"score {score!r} is no number") from error
    if not 0 <= value <= 5:
        raise ValueError(f"score {score!r} is not from 0 to 5")
    return ScoredPair(str(first), str(second), value)


def read_scored_pairs(path: Path) -> list[ScoredPair]:
    """A file of scored pairs, by its ending: `.json` as KLUE-STS, `.tsv` as KorSTS, `.csv` with the columns sentence1,
    sentence2, label."""
    match path.name.removesuffix(".xz").rpartition(".")[2]:
        case "json":
            return read_klue(path)
        case "tsv":
            return read_korsts(path)
        case _:
            rows = read_csv(path)
            return [ScoredPair(row["sentence1"], row["sentence2"], float(row["label"])) for row in rows]


def read_klue(path: Path) -> list[ScoredPair]:
    """A KLUE-STS v1.1 file, with the unrounded score; dev has 519 pairs."""
    rows = json.loads(read_text(path))
    return [ScoredPair(row["sentence1"], row["sentence2"], row["labels"]["real-label"]) for row in rows]


def read_korsts(path: Path) -> list[ScoredPair]:
    """A KorSTS file."""
    return [ScoredPair(row[5], row[6], float(row[4])) for row in read_tsv(path)[1:]]


def normal_form(sentence: str) -> str:
    """What two spellings of one sentence have in common: letters and digits, lower case."""
    return "".join(filter(str.isalnum, sentence.lower()))
