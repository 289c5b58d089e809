"""Answers for the stub, with the same keys as the real ones."""

from typing import Any


def qa_answer(context: str, answer: str, question: str = "어디인가요?") -> dict[str, str]:
    return {"question": question, "context": context, "answer": answer}


def sts_answer(score: float, pred: int, first: str = "첫 문장", second: str = "둘째 문장") -> dict[str, Any]:
    return {"sentence_1": first, "sentence_2": second, "score": score, "pred": pred, "runtime(sec)": 0.05}


def file_answer(pairs: list[list[str]]) -> dict[str, Any]:
    return {"sentences": pairs, "preds": [1] * len(pairs), "scores": [0.9] * len(pairs), "runtime(sec)": 0.2}


def problem(status: int, title: str, detail: str, errors: list[dict[str, str]] | None = None) -> dict[str, Any]:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": "req-7"}
    return {**body, "errors": errors} if errors else body
