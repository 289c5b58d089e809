"""Questions whose answer is a stretch of a paragraph, as SQuAD's and KorQuAD's files hold them.

SQuAD 2.0 (Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822) also asks what its paragraph does not answer.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.errors import BadRow
from pipelines.qa.nodes import Node
from pipelines.text.files import read_text
from pipelines.text.normalization import Normalized, nfc

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
