"""Questions from wherever a user has them: SQuAD files, files of rows, data sets by name."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import DataNotFound
from pipelines.qa.data import Example, example, read_squad
from pipelines.qa.nodes import Node
from pipelines.text.rows import Record, is_file, part_of, read_data_set, read_file, refusing_no_text

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
