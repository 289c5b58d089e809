"""CoLA: single sentences judged acceptable or not, and the English text to warm up on."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.data_files import read_text, read_tsv

COLA_TRAIN = "cola/in_domain_train.tsv"
COLA_DEV = "cola/in_domain_dev.tsv"
BLIMP = "blimp/blimp.jsonl.xz"
NOVELS = "eltec_eng/eltec_eng.jsonl.xz"
SPEECHES = "us_speeches/us_speeches.jsonl.xz"
MASC = "masc_en/masc_sentences.tsv.xz"
WIKITEXT = ("wikitext2/valid.txt", "wikitext2/test.txt")
PASSAGES = (
    "squad_v1/dev-v1.1.rebuilt.json.xz",
    "squadshifts/new_wiki_v1.0.json.xz",
    "squadshifts/amazon_reviews_v1.0.json.xz",
)
UNEDITED_GENRES = {"spam", "twitter"}

SHORTEST, LONGEST = 4, 16
"""Words of a sentence worth warming up on; CoLA's have 8 on average."""
NOVEL_SHARE = 0.3
"""More than the other sources together; all of the novels would drown them."""

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’]?\s+(?=[\"'“‘A-Z])")
_SPACE_BEFORE = re.compile(r" ([.,;:!?%)\]]|'(?:t|s|re|ve|ll|d|m)\b)")


@dataclass(frozen=True)
class Judgement:
    """A sentence and whether linguists accept it."""

    sentence: str
    acceptable: bool


@dataclass(frozen=True)
class ColaData:
    """What training sees (`train`), what fixes threshold (`held_out`), what is only measured (`dev`)."""

    train: list[Judgement]
    held_out: list[Judgement]
    dev: list[Judgement]


def judgement(sentence: object, label: object) -> Judgement:
    """A row from the cells of any file. Raises ValueError where the label is neither 0 nor 1, or there is no text."""
    if str(label).strip() not in {"0", "1", "False", "True"}:
        raise ValueError(f"label {label!r} is neither 0 nor 1")
    if not str(sentence).strip():
        raise ValueError("the text is blank")
    return Judgement(str(sentence), str(label).strip() in {"1", "True"})


def read_cola(path: Path) -> list[Judgement]:
    """A CoLA file: four columns, no header."""
    return [Judgement(row[3], row[1] == "1") for row in read_tsv(path)]


def load(folder: Path, held_out_share: float, seed: int) -> ColaData:
    """CoLA's in-domain sets; what stands in two of them stays only in the later one of train, held out, dev."""
    dev = read_cola(folder / COLA_DEV)
    rows = without(read_cola(folder / COLA_TRAIN), {row.sentence for row in dev})
    random.Random(seed).shuffle(rows)
    count = round(held_out_share * len(rows))
    held_out = rows[:count]
    return ColaData(without(rows[count:], {row.sentence for row in held_out}), held_out, dev)


def without(rows: list[Judgement], sentences: set[str]) -> list[Judgement]:
    """The rows whose sentence is none of these."""
    return [row for row in rows if row.sentence not in sentences]


def read_minimal_pairs(folder: Path) -> list[tuple[str, str]]:
    """BLiMP's 67,000 pairs: (acceptable, not acceptable)."""
    rows = map(json.loads, read_text(folder / BLIMP).splitlines())
    return [(row["sentence_good"], row["sentence_bad"]) for row in rows]


def read_sentences(folder: Path, seed: int) -> list[list[str]]:
    """Correct English sentences as lists of words, punctuation attached, without repeats."""
    draw = random.Random(seed)
    texts = [*_passages(folder), *_speeches(folder), *_wikipedia(folder), *_masc(folder)]
    texts += [line for line in _novels(folder) if draw.random() < NOVEL_SHARE]
    sentences = (tuple(sentence.split()) for text in texts for sentence in _SENTENCE_END.split(text))
    return [list(words) for words in dict.fromkeys(sentences) if is_plain(words)]


def is_plain(words: tuple[str, ...]) -> bool:
    """Of useful length, from a capital to a full stop, mostly letters."""
    if not SHORTEST <= len(words) <= LONGEST or not words[0][:1].isupper() or words[-1][-1] not in ".!?":
        return False
    return sum(word.strip(".,;:!?'\"()").replace("'", "").isalpha() for word in words) >= 0.9 * len(words)


def _passages(folder: Path) -> Iterator[str]:
    for name in PASSAGES:
        for article in json.loads(read_text(folder / name))["data"]:
            yield from (paragraph["context"] for paragraph in article["paragraphs"])


def _speeches(folder: Path) -> Iterator[str]:
    for line in read_text(folder / SPEECHES).splitlines():
        yield from json.loads(line)["text"].split("\n\n")


def _novels(folder: Path) -> Iterator[str]:
    for line in read_text(folder / NOVELS).split("\n"):
        if line:
            yield from json.loads(line)["text"].split("\n")


def _masc(folder: Path) -> Iterator[str]:
    yield from (row[2] for row in read_tsv(folder / MASC)[1:] if row[1] not in UNEDITED_GENRES)


def _wikipedia(folder: Path) -> Iterator[str]:
    """WikiText's sentences that hold no unknown word, put together again from their tokens."""
    for name in WIKITEXT:
        for line in read_text(folder / name).splitlines():
            sentences = _SENTENCE_END.split(_SPACE_BEFORE.sub(r"\1", line.replace(" @-@ ", "-").strip()))
            yield from (sentence for sentence in sentences if "<unk>" not in sentence and " = " not in sentence)
