"""Code that the peers share: their command line, and scoring with `encode` of sentence-transformers."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class Options:
    model: Path
    port: int
    workers: int
    threads: int


def options() -> Options:
    """Parse the command line of a peer: MODEL PORT WORKERS THREADS."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    for name in ("port", "workers", "threads"):
        parser.add_argument(name, type=int)
    return Options(**vars(parser.parse_args()))


class Scorer:
    """A sentence-transformers model, loaded once and warmed up."""

    def __init__(self, model: Path | str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._model = SentenceTransformer(str(model), device="cpu", model_kwargs={"dtype": torch.float32})
        for count in (1, 8, 32):
            self.scores([("문장을 준비한다", "준비하는 문장이다")] * count)

    @torch.inference_mode()
    def scores(self, pairs: list[tuple[str, str]]) -> list[float]:
        """The cosine of each pair, from one `encode` of all sentences, which sorts them by length."""
        sentences = [sentence for pair in pairs for sentence in pair]
        embeddings = self._model.encode(
            sentences, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
        )
        return (embeddings[0::2] * embeddings[1::2]).sum(dim=1).tolist()

    def answer(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Score all requests together, one answer each: {sentence_1, sentence_2} -> {score}, {pairs} -> {scores}."""
        groups = [request.get("pairs") or [(request["sentence_1"], request["sentence_2"])] for request in requests]
        scores = iter(self.scores([pair for group in groups for pair in group]))
        parts = [[next(scores) for _ in group] for group in groups]
        return [
            {"scores": part} if "pairs" in request else {"score": part[0]}
            for request, part in zip(requests, parts, strict=True)
        ]
