"""Sentence pairs for STS: scored pairs to measure with, and pools of same-meaning pairs to train on."""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pipelines.data_files import read_csv, read_text, read_tsv

KLUE_TRAIN = "klue_sts/klue_sts_train.csv.xz"
KLUE_DEV = "klue_sts/klue-sts-v1.1_dev.json"
KORSTS_TRAIN = "korsts/sts-train.tsv"
KORSTS_DEV = "korsts/sts-dev.tsv"
QUESTION_PAIRS = "question_pair_ko/kor_pair_train.csv"
KLUE_NLI = "klue_nli/klue-nli-v1.1_dev.json"
XNLI = ("kornli/xnli.dev.ko.tsv", "kornli/xnli.test.ko.tsv")
PARAKQC = "parakqc/paraKQC_v1.txt"

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


@dataclass(frozen=True)
class Pool:
    """Pairs of equal meaning from one source, and how often it is drawn from relative to the others."""

    name: str
    weight: float
    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class ScoredPool:
    """Scored pairs from one source, and how often it is drawn from relative to the others."""

    name: str
    weight: float
    pairs: list[ScoredPair]


@dataclass(frozen=True)
class StsData:
    """What training sees (`pools`, `scored_pools`), what choices are made on (`held_out`), what is only measured
    (`*_dev`)."""

    pools: list[Pool]
    scored_pools: list[ScoredPool]
    held_out: list[ScoredPair]
    klue_dev: list[ScoredPair]
    korsts_dev: list[ScoredPair]


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


def read_klue_train(folder: Path) -> list[ScoredPair]:
    """KLUE-STS train, 11,668 pairs."""
    return read_scored_pairs(folder / KLUE_TRAIN)


def read_klue(path: Path) -> list[ScoredPair]:
    """A KLUE-STS v1.1 file, with the unrounded score; dev has 519 pairs."""
    rows = json.loads(read_text(path))
    return [ScoredPair(row["sentence1"], row["sentence2"], row["labels"]["real-label"]) for row in rows]


def read_korsts(path: Path) -> list[ScoredPair]:
    """A KorSTS file."""
    return [ScoredPair(row[5], row[6], float(row[4])) for row in read_tsv(path)[1:]]


def read_same_questions(folder: Path) -> list[tuple[str, str]]:
    """Question pairs of equal meaning; the file's `is_duplicate` is 0 for those."""
    rows = read_csv(folder / QUESTION_PAIRS)
    return [(row["question1"], row["question2"]) for row in rows if row["is_duplicate"] == "0"]


def read_entailments(folder: Path) -> list[tuple[str, str]]:
    """Premises with a hypothesis they entail, from KLUE-NLI dev and the Korean XNLI."""
    klue = [(row["premise"], row["hypothesis"], row["gold_label"]) for row in json.loads(read_text(folder / KLUE_NLI))]
    xnli = [(row[0], row[1], row[2]) for name in XNLI for row in read_tsv(folder / name)[1:]]
    return [(premise, hypothesis) for premise, hypothesis, label in klue + xnli if label == "entailment"]


def read_paraphrase_sets(folder: Path) -> list[list[str]]:
    """ParaKQC's 1,000 sets of ten sentences that mean the same, in file order."""
    sentences = [row[2] for row in read_tsv(folder / PARAKQC)]
    return [sentences[start : start + 10] for start in range(0, len(sentences), 10)]


def load(folder: Path, held_out_share: float, seed: int) -> StsData:
    """All of it, with no sentence of a dev set, nor of the held-out share of KLUE train, in any pool."""
    klue_dev, korsts_dev = read_klue(folder / KLUE_DEV), read_korsts(folder / KORSTS_DEV)
    sets = read_paraphrase_sets(folder)
    train, held_out = split_klue(read_klue_train(folder), sets, held_out_share, seed)
    seen_later = sentences_of(klue_dev) | sentences_of(korsts_dev) | sentences_of(held_out)
    same_in_train = [pair for pair in train if pair.same]
    korsts_train = read_korsts(folder / KORSTS_TRAIN)
    nearly_equal = [pair for pair in korsts_train if pair.score >= 4]
    pools = [
        Pool("klue", 3, [(pair.sentence1, pair.sentence2) for pair in same_in_train]),
        Pool("korsts", 1, [(pair.sentence1, pair.sentence2) for pair in nearly_equal]),
        Pool("questions", 1, read_same_questions(folder)),
        Pool("entailments", 1, read_entailments(folder)),
        Pool("parakqc", 4, paraphrase_pairs(sets, seen_later)),
    ]
    scored_pools = [ScoredPool("klue", 2, train), ScoredPool("korsts", 1, korsts_train)]
    return StsData(
        [without(pool, seen_later) for pool in pools],
        [scored_without(pool, seen_later) for pool in scored_pools],
        held_out,
        klue_dev,
        korsts_dev,
    )


def split_klue(
    pairs: list[ScoredPair], sets: list[list[str]], share: float, seed: int
) -> tuple[list[ScoredPair], list[ScoredPair]]:
    """(train, held out): a share of KLUE train apart, ParaKQC sets kept whole.

    A third of KLUE's pairs come from ParaKQC. A set with sentences on both sides would make the held-out pairs
    look easier than new ones, and the threshold fitted on them too high.
    """
    set_of = {key(sentence): number for number, group in enumerate(sets) for sentence in group}
    draw = random.Random(seed)
    held_sets = {number for number in range(len(sets)) if draw.random() < share}
    train: list[ScoredPair] = []
    held_out: list[ScoredPair] = []
    for pair in pairs:
        number = set_of.get(key(pair.sentence1))
        held = draw.random() < share if number is None else number in held_sets
        (held_out if held else train).append(pair)
    return train, held_out


def paraphrase_pairs(sets: list[list[str]], seen_later: set[str]) -> list[tuple[str, str]]:
    """Every pair within each set, leaving out sets that hold one of the sentences `seen_later`."""
    clean = [group for group in sets if not seen_later.intersection(map(key, group))]
    return [pair for group in clean for pair in combinations(group, 2)]


def without(pool: Pool, seen_later: set[str]) -> Pool:
    """The pool less its pairs with a sentence in `seen_later`, and less those whose two sentences are equal."""
    return Pool(pool.name, pool.weight, [pair for pair in pool.pairs if _teaches(*pair, seen_later)])


def scored_without(pool: ScoredPool, seen_later: set[str]) -> ScoredPool:
    """As `without`."""
    pairs = [pair for pair in pool.pairs if _teaches(pair.sentence1, pair.sentence2, seen_later)]
    return ScoredPool(pool.name, pool.weight, pairs)


def _teaches(sentence1: str, sentence2: str, seen_later: set[str]) -> bool:
    keys = {key(sentence1), key(sentence2)}
    return len(keys) == 2 and not keys & seen_later


def sentences_of(pairs: Iterable[ScoredPair]) -> set[str]:
    """Keys of all sentences in the pairs."""
    return {key(sentence) for pair in pairs for sentence in (pair.sentence1, pair.sentence2)}


def key(sentence: str) -> str:
    """What two spellings of one sentence have in common: letters and digits, lower case."""
    return "".join(filter(str.isalnum, sentence.lower()))
