"""Questions whose answer is a span of a paragraph, read from files in the formats of SQuAD and KorQuAD.

SQuAD 2.0 (Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822) also has questions without an answer.
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
_KIND_NAMES = {str: "a text", int: "a whole number from 0", bool: "true or false", list: "a list"}


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a JSON document: `source` names the document, `path` the place in it, like `data[3].paragraphs[2]`."""

    source: str
    value: Any
    path: str = ""

    def bad(self, why: str) -> BadRow:
        """Make an error with the place of this value; `why` is the fault."""
        return BadRow(f"{self.source}, {self.path}" if self.path else self.source, why)

    def items(self, name: str) -> list["Node"]:
        """The list under a key. Like the methods below, it raises BadRow if the value is missing or of another type."""
        below = f"{self.path}.{name}" if self.path else name
        values = self._get(name, list)
        return [Node(self.source, value, f"{below}[{number}]") for number, value in enumerate(values)]

    def text(self, name: str, default: str | None = None) -> str:
        """The text under a key, or `default` if the key is missing or null."""
        return self._get(name, str, default)

    def number(self, name: str) -> int:
        """The non-negative whole number under a key."""
        number = self._get(name, int)
        if isinstance(number, bool) or number < 0:
            raise self.bad(f"{name} is not {_KIND_NAMES[int]}")
        return number

    def flag(self, name: str) -> bool:
        """The boolean under a key; False if the key is missing or null."""
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
            raise self.bad(f"{name} is not {_KIND_NAMES[kind]}")
        return value


KORQUAD = "korquad_v1/KorQuAD_v1.0_dev.json.xz"
TRAIN_ARTICLES = 100


@dataclass(frozen=True)
class Example:
    """A question about a context, and its answer `context[start:end]`, in characters; start == end means no answer.

    others  further texts that are accepted as answers, as in the dev files of SQuAD
    """

    id: str
    question: str
    context: str
    start: int
    end: int
    others: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """The text of the answer, "" if there is none."""
        return self.context[self.start : self.end]

    @property
    def accepted(self) -> tuple[str, ...]:
        """All texts that are accepted as answers, at least one."""
        return (self.answer, *self.others)

    @property
    def answerable(self) -> bool:
        """Whether the context contains the answer."""
        return self.start < self.end


def read_squad(path: Path) -> list[list[Example]]:
    """Read a SQuAD file, v1 or v2: one list of examples per article, in file order. If a question has several answers,
    the first becomes `Example.answer`.

    Raises BadRow with the place, like `data[3].paragraphs[2].qas[0]`, if a value is missing or an answer is not at the
    position that the file gives; FileNotFoundError as `read_text`.
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
    """Convert a question of a SQuAD file. Raises BadRow as `read_squad`."""
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
    """Start and end of the answer in the context, in characters, without white space at its edges."""
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
    """Start and end of `text` in the context, if it is found at the character `start`; otherwise None.

    Text and context may be in different Unicode normal forms. Then `start` may count the characters of the context as
    it is, or those of its composed form (NFC).
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
    "a SQuAD .json file (v1 or v2; .json.xz too), a .jsonl file of rows, or a data set NAME[:CONFIGURATION[:SPLIT]]; "
    "append [:100], [-40:] or [::10] to take only the first 100 articles, the last 40, or every tenth"
)


def read_articles(source: str, split: str) -> list[list[Example]]:
    """Read the source: one list of examples per article. `split` applies to a data set whose name does not give one.

    A row has the columns `question`, `context` and `answers`. `answers` holds the two lists `text` and `answer_start`,
    or one list of objects with these keys; it is empty if the context does not answer the question. Rows with the same
    `title`, or without titles those with the same context, form an article. Raises DataNotFound, and BadRow with the
    line, the row or the place in the file.
    """
    whole, part = part_of(source)
    articles = _read(whole, split)[part]
    if not any(articles):
        raise DataNotFound(source, "holds no question")
    return articles


def without_contexts_of(examples: Iterable[Example], others: Iterable[Example]) -> list[Example]:
    """The examples whose context is not the context of any of `others`."""
    contexts = {other.context for other in others}
    return [one for one in examples if one.context not in contexts]


def all_examples(articles: Iterable[Sequence[Example]]) -> list[Example]:
    """The examples of all articles in one list."""
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
    """Convert a row to an entry of a SQuAD file."""
    answers: Any = row.value.get("answers")
    if isinstance(answers, dict):
        lists = Node(row.source, answers, "answers")
        texts, starts = lists.items("text"), lists.items("answer_start")
        if len(texts) != len(starts):
            raise lists.bad(f"{len(starts)} values of answer_start for {len(texts)} texts")
        answers = [{"text": text.value, "answer_start": start.value} for text, start in zip(texts, starts, strict=True)]
    return Node(row.source, {**row.value, "answers": answers, "is_impossible": answers == []})
