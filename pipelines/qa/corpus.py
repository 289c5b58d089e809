"""What the extractor learns from beside KorQuAD: English questions, and Korean texts to make questions from."""

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from random import Random

from pipelines.data_files import read_text, read_tsv
from pipelines.qa.cloze import cloze_questions
from pipelines.qa.data import Example, read_squad

ENGLISH = ("squadshifts/new_wiki_v1.0.json.xz", "squad_v1/dev-v1.1.rebuilt.json.xz")
BOOLQ = tuple(f"kobest/BoolQ/{part}.tsv" for part in ("train", "dev", "test"))
KAIST, GSD = "ud_korean/kaist_sentences.tsv.xz", "ud_korean/gsd_sentences.tsv.xz"
NEWS = tuple(f"ko_en_news/korean-english-park.{part}.ko" for part in ("dev", "test"))
SENTENCES = 6
"""In a passage put together from sentences."""
SHORTEST_PASSAGE = 100  # characters
LONGEST_PASSAGE = 1500  # characters


def english_examples(folder: Path) -> list[Example]:
    """Questions on English Wikipedia. What overlaps with a question marks its answer in any language."""
    return [example for name in ENGLISH for article in read_squad(folder / name) for example in article]


def korean_passages(folder: Path) -> list[str]:
    """Encyclopedia paragraphs, then sentences of other Korean texts in groups, each passage once."""
    boolq = [row[1] for name in BOOLQ for row in read_tsv(folder / name)[1:]]
    news = [read_text(folder / name).split("\n") for name in NEWS]
    kaist = [[row[1] for row in rows] for _, rows in groupby(read_tsv(folder / KAIST)[1:], key=lambda row: row[0])]
    gsd = [row[1] for row in read_tsv(folder / GSD)[1:]]
    grouped = chain.from_iterable(map(_grouped, [*kaist, gsd, *news]))
    return [text for text in dict.fromkeys((*boolq, *grouped)) if len(text) >= SHORTEST_PASSAGE]


def _grouped(sentences: Sequence[str]) -> Iterator[str]:
    return (" ".join(sentences[low : low + SENTENCES]) for low in range(0, len(sentences), SENTENCES))


def cloze_examples(passages: Sequence[str], per_passage: int, seed: int) -> list[Example]:
    """Up to `per_passage` made questions on each passage, always the same for a seed."""
    draw = Random(seed)
    return [example for text in passages for example in cloze_questions(text[:LONGEST_PASSAGE], per_passage, draw)]
