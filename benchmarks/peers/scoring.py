"""Code that the peers share: their command line, and scoring with `encode` of sentence-transformers."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
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


def load(model: Path | str, threads: int, backend: str) -> SentenceTransformer:
    """Load a model with one of the backends of sentence-transformers.

    `onnx` is its int8 graph for CPUs with VNNI, which it makes by dynamic quantization.
    """
    if backend == "openvino":
        limits = {"ov_config": {"INFERENCE_NUM_THREADS": str(threads), "INFERENCE_PRECISION_HINT": "f32"}}
        return SentenceTransformer(str(model), device="cpu", backend="openvino", model_kwargs=limits)
    if backend == "onnx":
        return load_int8(model, threads)
    return SentenceTransformer(str(model), device="cpu", model_kwargs={"dtype": torch.float32})


def load_int8(model: Path | str, threads: int) -> SentenceTransformer:
    import onnxruntime
    from sentence_transformers import export_dynamic_quantized_onnx_model

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    own = {"provider": "CPUExecutionProvider", "session_options": options}
    with TemporaryDirectory() as folder:
        exported = SentenceTransformer(str(model), device="cpu", backend="onnx", model_kwargs={"export": True})
        exported.save_pretrained(folder)
        export_dynamic_quantized_onnx_model(exported, "avx512_vnni", folder)
        named = {"file_name": "model_qint8_avx512_vnni.onnx"}
        return SentenceTransformer(folder, device="cpu", backend="onnx", model_kwargs=own | named)


class Scorer:
    """A sentence-transformers model, loaded once and warmed up. The variable BACKEND names one of its backends."""

    def __init__(self, model: Path | str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._model = load(model, threads, os.environ.get("BACKEND", "torch"))
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
