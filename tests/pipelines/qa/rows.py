"""Hand-made articles in the formats of KorQuAD and SQuAD 2.0 for tests."""

import json
import lzma
from pathlib import Path
from typing import Any

from pipelines.qa.data import KORQUAD, Example

COLOURS = ("빨강", "노랑", "파랑", "보라", "하양", "검정")
CITIES = ("Busan", "Paris", "Oslo", "Delhi", "Quito", "Lima")


def article(number: int) -> dict[str, Any]:
    """Make an article with one paragraph and one question, whose answer is a colour."""
    colour = COLOURS[number % len(COLOURS)]
    context = f"마을 {number}번지에는 집이 있다. 그 집의 지붕은 {colour} 기와로 덮여 있다. 마당에는 나무가 있다."
    context += " 나무 아래에는 긴 의자가 있고 의자 옆에는 작은 연못이 있다. 연못에는 물고기가 산다."
    answer = {"text": colour, "answer_start": context.index(colour)}
    question = {"id": f"q{number}", "question": f"{number}번지 집의 지붕은 무슨 색인가?", "answers": [answer]}
    return {"title": f"마을 {number}", "paragraphs": [{"context": context, "qas": [question]}]}


def town(number: int, *, long: bool = False) -> dict[str, Any]:
    """Make an article as in SQuAD 2.0, with a question for the museum and one for the school of a town.

    If `number` is odd, the context does not answer the second one. A long context has several windows.
    """
    museum, school = CITIES[number % len(CITIES)], CITIES[number * 5 % len(CITIES)]
    start = " ".join(["It is cold here."] * (number % 4 * 6)) if long else f"No {number}."
    context = f"{start} The museum is in {museum}."
    context += "" if number % 2 else f" The school is in {school}."
    context += " It was warm." * 12 if long else ""
    return {
        "title": f"town {number}",
        "paragraphs": [
            {
                "context": context,
                "qas": [
                    _asked(number, "museum", museum, context),
                    _asked(number, "school", "" if number % 2 else school, context),
                ],
            }
        ],
    }


def _asked(number: int, what: str, where: str, context: str) -> dict[str, Any]:
    answers = [{"text": where, "answer_start": context.index(f"{what} is in {where}") + len(what) + 7}] if where else []
    entry = {"id": f"{what} {number}", "question": f"Where is the {what}?", "answers": answers}
    return entry | {"is_impossible": not where}


def write_squad(path: Path, articles: list[dict[str, Any]]) -> Path:
    """Write the articles to a file, which is compressed if its name ends in .xz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"data": articles}).encode()
    path.write_bytes(lzma.compress(content) if path.suffix == ".xz" else content)
    return path


def write_korquad(folder: Path, articles: list[dict[str, Any]]) -> Path:
    """Write the articles as the file of KorQuAD, and return the data folder."""
    write_squad(folder / KORQUAD, articles)
    return folder


def as_row(example: Example) -> dict[str, Any]:
    """Convert an example to a row of a data set."""
    texts, starts = ([example.answer], [example.start]) if example.answerable else ([], [])
    return {
        "id": example.id,
        "title": f"town {example.id.split()[-1]}",
        "context": example.context,
        "question": example.question,
        "answers": {"text": texts, "answer_start": starts},
    }
