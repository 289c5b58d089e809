"""Hand-made CoLA rows and English text for tests."""

import json
import lzma
from pathlib import Path

from pipelines.cola import data

SUBJECTS = ("The boy", "My sister", "A teacher", "The old man", "Our neighbour", "The cat")
VERBS = ("walks to the school", "likes the red house", "reads a long book", "wants to sleep now")


def good_sentences() -> list[str]:
    """24 different correct sentences."""
    return [f"{subject} {verb}." for subject in SUBJECTS for verb in VERBS]


def row(sentence: str, acceptable: bool) -> str:
    """One line of a CoLA file."""
    return f"gj04\t{int(acceptable)}\t{'' if acceptable else '*'}\t{sentence}\n"


def write_cola(folder: Path, train: list[tuple[str, bool]], dev: list[tuple[str, bool]]) -> Path:
    """The data folder, with these rows in CoLA's place."""
    for name, rows in ((data.COLA_TRAIN, train), (data.COLA_DEV, dev)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(row(*pair) for pair in rows), encoding="utf-8")
    return folder


def write_text(folder: Path) -> Path:
    """The data folder, with the correct sentences in every other source's place."""
    text = " ".join(good_sentences())
    squad = json.dumps({"data": [{"paragraphs": [{"context": text}]}]})
    book = json.dumps({"text": f"{text}\n{text}"})
    pair = json.dumps({"sentence_good": "The boys walk.", "sentence_bad": "The boys walks."})
    files = {
        data.BLIMP: pair,
        data.NOVELS: book,
        data.SPEECHES: book,
        data.MASC: f"file\tgenre\ttext\nf\tnews\t{text}\nf\tspam\tBuy these cheap spam words now.",
        **dict.fromkeys(data.PASSAGES, squad),
        **dict.fromkeys(
            data.WIKITEXT, " The <unk> is a bird . The bird doesn 't sing , or so they say . \n = Title = \n"
        ),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress(content.encode()) if name.endswith(".xz") else content.encode())
    return folder
