"""CoLA: single sentences, each judged acceptable or unacceptable."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.text.files import read_tsv

COLA_TRAIN = "cola/in_domain_train.tsv"
COLA_DEV = "cola/in_domain_dev.tsv"


@dataclass(frozen=True)
class Judgement:
    """A sentence and whether linguists accept it."""

    sentence: str
    acceptable: bool


def judgement(sentence: object, label: object) -> Judgement:
    """Convert two cells of a row. Raises ValueError if the label is neither 0 nor 1, or if the sentence is blank."""
    if str(label).strip() not in {"0", "1", "False", "True"}:
        raise ValueError(f"label {label!r} is neither 0 nor 1")
    if not str(sentence).strip():
        raise ValueError("the text is blank")
    return Judgement(str(sentence), str(label).strip() in {"1", "True"})


def read_cola(path: Path) -> list[Judgement]:
    """Read a CoLA file, which has four columns and no header."""
    return [Judgement(row[3], row[1] == "1") for row in read_tsv(path)]


def without_sentences(rows: list[Judgement], sentences: set[str]) -> list[Judgement]:
    """The rows whose sentence is not in `sentences`."""
    return [row for row in rows if row.sentence not in sentences]
