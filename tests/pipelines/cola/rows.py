"""Hand-made CoLA rows for tests."""

from pathlib import Path

from pipelines.cola import data

SUBJECTS = ("The boy", "My sister", "A teacher", "The old man", "Our neighbour", "The cat")
VERBS = ("walks to the school", "likes the red house", "reads a long book", "wants to sleep now")


def good_sentences() -> list[str]:
    """Make 24 different correct sentences."""
    return [f"{subject} {verb}." for subject in SUBJECTS for verb in VERBS]


def row(sentence: str, acceptable: bool) -> str:
    """One line of a CoLA file."""
    return f"gj04\t{int(acceptable)}\t{'' if acceptable else '*'}\t{sentence}\n"


def write_cola(folder: Path, train: list[tuple[str, bool]], dev: list[tuple[str, bool]]) -> Path:
    """Write the rows as the files of CoLA, and return the data folder."""
    for name, rows in ((data.COLA_TRAIN, train), (data.COLA_DEV, dev)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(row(*pair) for pair in rows), encoding="utf-8")
    return folder
