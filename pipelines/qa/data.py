"""KorQuAD 1.0: questions whose answer is a stretch of a Wikipedia paragraph. Its dev file, split by article."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipelines.data_files import read_text

KORQUAD = "korquad_v1/KorQuAD_v1.0_dev.json.xz"
TRAIN_ARTICLES = 100


@dataclass(frozen=True)
class Example:
    """A question on a context, and its answer: `context[start:end]`, in characters."""

    id: str
    question: str
    context: str
    start: int
    end: int

    @property
    def answer(self) -> str:
        """The answer's text."""
        return self.context[self.start : self.end]


def read_squad(path: Path) -> list[list[Example]]:
    """The examples of a SQuAD v1 file by article, in file order; the first answer counts where there are several.

    Raises ValueError where an answer's text does not stand where the file says.
    """
    articles = json.loads(read_text(path))["data"]
    return [
        [_example(entry, paragraph["context"]) for paragraph in article["paragraphs"] for entry in paragraph["qas"]]
        for article in articles
    ]


def _example(entry: dict[str, object], context: str) -> Example:
    answers = entry["answers"]
    if not isinstance(answers, list) or not answers:
        raise ValueError(f"question {entry['id']} has no answer")
    text, start = str(answers[0]["text"]), int(answers[0]["answer_start"])
    example = Example(str(entry["id"]), str(entry["question"]), context, start, start + len(text))
    if example.answer != text:
        raise ValueError(f"the answer of question {example.id} is not at character {start}")
    return example


def load(folder: Path, train_articles: int = TRAIN_ARTICLES) -> tuple[list[Example], list[Example]]:
    """(train, test): the first `train_articles` articles, and all those behind them."""
    articles = read_squad(folder / KORQUAD)
    train, test = articles[:train_articles], articles[train_articles:]
    return [example for article in train for example in article], [example for article in test for example in article]
