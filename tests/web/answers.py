"""Answers for the stub, with the same keys as the real ones."""

import json
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


def graph_answer(
    calls: int = 0, *, busy: float = 0.5, waiting: int = 0, replicas: int = 1, starting: int = 0
) -> dict[str, Any]:
    """The whole graph. Each caller made `calls` calls to each deployment that it calls, each of them with 3 items."""
    names = ["StsTokenizer", "StsEncoder", "ColaTokenizer", "ColaClassifier", "QaTokenizer", "QaExtractor"]
    calls_of = {
        "Ingress": dict.fromkeys([*names, "PersonaChat"], calls),
        "PersonaChat": dict.fromkeys([name for name in names if not name.startswith("Cola")], calls // 3),
    }

    def replica(name: str, index: int) -> dict[str, Any]:
        counts = {"requests": calls, "batches": calls, "items": 3 * calls, "calls": calls_of.get(name, {})}
        means = {"mean_batch": 3.0 if calls else None, "padding": 0.1 if calls else None}
        return {"id": f"{name}-{index}", "busy": busy / (index + 1), "waiting": waiting, **counts, **means}

    def deployment(name: str) -> dict[str, Any]:
        some = replicas if name == "StsEncoder" else 1
        shown = [replica(name, index) for index in range(some)]
        new = starting if name == "StsEncoder" else 0
        return {"name": name, "state": "running", "running": some, "starting": new, "replicas": shown}

    return {"deployments": [deployment(name) for name in ["Ingress", *names, "PersonaChat"]]}


def citation(cited: str, before: str = "", after: str = "", start: int = 0) -> dict[str, Any]:
    """The citation of a text, which is in a passage between two others; the passage starts at `start`."""
    scores = {"score": 0.5, "similarity": 0.4, "lexical": None}
    passage = {"start": start, "end": start + len(before + cited + after), "text": before + cited + after}
    place = {"start": start + len(before), "end": start + len(before + cited)}
    return {"store": "vector_store", "document": "a.md", **place, **scores, "passage": passage}


def passages_answer(*probabilities: float) -> dict[str, Any]:
    results = [{"probability": one, "acceptable": one >= 0.5, "truncated": False} for one in probabilities]
    return {"results": results, "usage": {"tokens": 9}}


def pairs_answer(*scores: float) -> dict[str, Any]:
    results = [{"score": one, "similar": one >= 0.6, "truncated": False} for one in scores]
    return {"results": results, "usage": {"tokens": 9}}


def spans_answer(context: str, *answers: tuple[str, float], none: float = 0.1) -> dict[str, Any]:
    """The answers to one question, (text, probability) each, at the first place where the context has the text."""
    spans = [
        {"answer": text, "start": context.index(text), "end": context.index(text) + len(text), "score": 1.0}
        | {"probability": probability}
        for text, probability in answers
    ]
    found = {"answers": spans, "answerable": True, "null_score": 0.0, "null_probability": none, "windows": 1}
    return {"results": [found | {"truncated": False}], "usage": {"tokens": 9}}


def job_answer(status: str, total: int = 0, completed: int = 0, failed: int = 0, **more: Any) -> dict[str, Any]:
    counts = {"total": total, "completed": completed, "failed": failed}
    files = {"output_file_id": None, "error_file_id": None, "errors": None}
    return {"id": "batch_1", "status": status, "request_counts": counts, **files, **more}


def job_rows(*rows: tuple[str, str, float, int]) -> str:
    """Lines of the answers to a job with a file of pairs."""
    keys = ("sentence1", "sentence2", "score", "pred")
    return "".join(json.dumps(dict(zip(keys, row, strict=True)), ensure_ascii=False) + "\n" for row in rows)
