"""Questions whose answer is a stretch of a paragraph, as SQuAD's and KorQuAD's files hold them.

SQuAD 2.0 (Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822) also asks what its paragraph does not answer.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipelines.errors import BadRow, DataNotFound
from pipelines.text.files import read_text
from pipelines.text.normalization import Normalized, nfc
from pipelines.text.rows import Record, is_file, part_of, read_data_set, read_file, refusing_no_text

Value = TypeVar("Value")
_WORDS = {str: "a text", int: "a whole number from 0", bool: "true or false", list: "a list"}


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a document: `source` is the document, `path` the way down, as in `data[3].paragraphs[2]`."""

    source: str
    value: Any
    path: str = ""

    def bad(self, why: str) -> BadRow:
        """The error that says what is wrong here."""
        return BadRow(f"{self.source}, {self.path}" if self.path else self.source, why)

    def items(self, name: str) -> list["Node"]:
        """The list under a key. Raises BadRow, as all of these do, where there is none."""
        below = f"{self.path}.{name}" if self.path else name
        values = self._get(name, list)
        return [Node(self.source, value, f"{below}[{number}]") for number, value in enumerate(values)]

    def text(self, name: str, default: str | None = None) -> str:
        """The text under a key."""
        return self._get(name, str, default)

    def number(self, name: str) -> int:
        """The whole number from 0 under a key."""
        number = self._get(name, int)
        if isinstance(number, bool) or number < 0:
            raise self.bad(f"{name} is not {_WORDS[int]}")
        return number

    def flag(self, name: str) -> bool:
        """The truth value under a key; false where there is none."""
        return self._get(name, bool, False)

    def _get(self, name: str, kind: type[Value], default: Value | None = None) -> Value:
        if not isinstance(self.value, dict):
            raise self.bad("not a JSON object")
        value = self.value.get(name)
        if value is None:
            value = default
        if value is None:
            raise self.bad(f"has no {name}")
        if not isinstance(value, kind):
            raise self.bad(f"{name} is not {_WORDS[kind]}")
        return value


KORQUAD = "korquad_v1/KorQuAD_v1.0_dev.json.xz"
TRAIN_ARTICLES = 100


@dataclass(frozen=True)
class Example:
    """A question on a context, and its answer: `context[start:end]`, in characters; the empty one where there is none.

    others  further texts that count as right, as SQuAD's dev files give them
    """

    id: str
    question: str
    context: str
    start: int
    end: int
    others: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """The answer's text."""
        return self.context[self.start : self.end]

    @property
    def accepted(self) -> tuple[str, ...]:
        """All texts that count as right, at least one."""
        return (self.answer, *self.others)

    @property
    def answerable(self) -> bool:
        """Whether the context holds the answer."""
        return self.start < self.end


def read_squad(path: Path) -> list[list[Example]]:
    """The examples of a SQuAD file, v1 or v2, by article, in file order; of several answers the first is `answer`.

    Raises BadRow naming the place, like `data[3].paragraphs[2].qas[0]`, where something is missing or an answer does
    not stand where the file says; FileNotFoundError as `read_text`.
    """
    try:
        root = Node(str(path), json.loads(read_text(path)))
    except json.JSONDecodeError as error:
        raise BadRow(f"{path}, line {error.lineno}", f"not JSON: {error}") from error
    return [
        [
            example(entry, paragraph.text("context"))
            for paragraph in article.items("paragraphs")
            for entry in paragraph.items("qas")
        ]
        for article in root.items("data")
    ]


def example(entry: Node, context: str) -> Example:
    """A question of a SQuAD file. Raises BadRow as `read_squad`."""
    name, question, answers = entry.text("id", ""), entry.text("question"), entry.items("answers")
    if entry.flag("is_impossible"):
        if answers:
            raise entry.bad(f"question {name} is marked impossible and has an answer")
        return Example(name, question, context, 0, 0)
    if not answers:
        raise entry.bad(f"question {name} has no answer and is not marked impossible")
    (start, end), *others = [_span(name, answer, context) for answer in answers]
    texts = dict.fromkeys(context[low:high] for low, high in others)
    return Example(name, question, context, start, end, tuple(text for text in texts if text != context[start:end]))


def _span(name: str, answer: Node, context: str) -> tuple[int, int]:
    """Where in the context the answer stands, without white space at its edges."""
    text, start = answer.text("text"), answer.number("answer_start")
    if not text.strip():
        raise answer.bad(f"the answer of question {name} is blank")
    found = _find(context, text, start)
    if found is None:
        raise answer.bad(f"the answer of question {name} is not at character {start}")
    low, high = found
    exact = context[low:high]
    return low + len(exact) - len(exact.lstrip()), high - len(exact) + len(exact.rstrip())


def _find(context: str, text: str, start: int) -> tuple[int, int] | None:
    """The text at a character of the context, or where the two are in different normal forms, what is the same text.

    Then the character may be counted in the context as it is, or in its composed form.
    """
    if context.startswith(text, start):
        return start, start + len(text)
    normalized, composed = Normalized.of(context), nfc(text)
    for at in (start, len(nfc(context[:start]))):
        if normalized.text.startswith(composed, at):
            offsets = np.array([[at, at + len(composed)]], dtype=np.int32)
            low, high = normalized.to_original(offsets)[0].tolist()
            return low, high
    return None


SOURCE = (
    "a SQuAD .json file, v1 or v2, .xz too, a .jsonl file of rows, or a data set as NAME[:CONFIGURATION[:SPLIT]]; "
    "with [:100], [-40:] or [::10] behind it, only its first 100 or last 40 articles, or every tenth"
)


def read_articles(source: str, split: str) -> list[list[Example]]:
    """The questions by article, in files as of SQuAD; `split` counts where the name of a data set does not say which.

    A row has the columns `question`, `context` and `answers`: lists `text` and `answer_start`, empty where the context
    does not answer, or one list of objects. Rows of one `title` are an article; without titles, those of one context.
    Raises DataNotFound, and BadRow naming line, row, or place in the file.
    """
    whole, part = part_of(source)
    articles = _read(whole, split)[part]
    if not any(articles):
        raise DataNotFound(source, "holds no question")
    return articles


def without_contexts(examples: Iterable[Example], others: Iterable[Example]) -> list[Example]:
    """The examples on contexts that none of the others is on."""
    contexts = {other.context for other in others}
    return [one for one in examples if one.context not in contexts]


def together(articles: Iterable[Sequence[Example]]) -> list[Example]:
    """All questions of all articles."""
    return [one for article in articles for one in article]


def _read(source: str, split: str) -> list[list[Example]]:
    path = Path(source)
    if path.name.removesuffix(".xz").endswith(".json"):
        with refusing_no_text(path):
            return read_squad(path)
    return _by_title(read_file(path, headless=False) if is_file(source) else read_data_set(source, split))


def _by_title(records: Iterable[Record]) -> list[list[Example]]:
    articles: dict[str, list[Example]] = {}
    for record in records:
        row = Node(record.where, record.cells)
        context = row.text("context")
        articles.setdefault(row.text("title", context), []).append(example(_entry(row), context))
    return list(articles.values())


def _entry(row: Node) -> Node:
    """The row as an entry of a SQuAD file."""
    answers: Any = row.value.get("answers")
    if isinstance(answers, dict):
        lists = Node(row.source, answers, "answers")
        texts, starts = lists.items("text"), lists.items("answer_start")
        if len(texts) != len(starts):
            raise lists.bad(f"{len(starts)} places for {len(texts)} texts")
        answers = [{"text": text.value, "answer_start": start.value} for text, start in zip(texts, starts, strict=True)]
    return Node(row.source, {**row.value, "answers": answers, "is_impossible": answers == []})
