"""Hand-made KorQuAD articles for tests."""

import json
import lzma
from pathlib import Path
from typing import Any

from pipelines.qa.data import KORQUAD

COLOURS = ("빨강", "노랑", "파랑", "보라", "하양", "검정")


def article(number: int) -> dict[str, Any]:
    """One article of one paragraph and one question; its answer is a colour."""
    colour = COLOURS[number % len(COLOURS)]
    context = f"마을 {number}번지에는 집이 있다. 그 집의 지붕은 {colour} 기와로 덮여 있다. 마당에는 나무가 있다."
    context += " 나무 아래에는 긴 의자가 있고 의자 옆에는 작은 연못이 있다. 연못에는 물고기가 산다."
    answer = {"text": colour, "answer_start": context.index(colour)}
    question = {"id": f"q{number}", "question": f"{number}번지 집의 지붕은 무슨 색인가?", "answers": [answer]}
    return {"title": f"마을 {number}", "paragraphs": [{"context": context, "qas": [question]}]}


def write_korquad(folder: Path, articles: list[dict[str, Any]]) -> Path:
    """The data folder, with these articles in KorQuAD's place."""
    path = folder / KORQUAD
    path.parent.mkdir(parents=True)
    path.write_bytes(lzma.compress(json.dumps({"data": articles}).encode()))
    return folder
