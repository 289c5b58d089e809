import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from pipelines.engines.choice import Backend, Dtype, EngineSettings
from pipelines.format.manifest import read_manifest
from pipelines.format.windows import WindowSettings
from pipelines.qa.model import Extractor, load
from pipelines.qa.windows import WindowMaker, Windows
from pipelines.text.token_batch import TokenBatch
from tests.conftest import MakeCheckpoint

KINDS = ["extractor", "extractor-roberta"]
LONG = ("who?", "The museum is in Busan. " * 60)
REQUESTS = [
    ("도서관은 몇 시에 문을 여나요?", "시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다."),
    ("Where is the museum?", "The museum is in Busan."),
]


on_both_backends = pytest.mark.parametrize("backend", ["torch", "onnx"])


def model_of(folder: Path, backend: Backend = "torch", dtype: Dtype = "float32", **limits: int) -> Extractor:
    settings = EngineSettings(device="cpu", backend=backend, dtype=dtype)
    return load(folder, read_manifest(folder), settings, **limits)


def windows_of(folder: Path, requests: list[tuple[str, str]] = REQUESTS) -> Windows:
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.no_truncation()
    return WindowMaker(made, WindowSettings())(requests, read_manifest(folder).ref)


@on_both_backends
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("request_number", range(len(REQUESTS)))
@torch.inference_mode()
def test_the_best_span_is_that_of_plain_transformers(
    imported: MakeCheckpoint, kind: str, request_number: int, backend: Backend
) -> None:
    folder, request = imported(kind), REQUESTS[request_number]
    encoded = AutoTokenizer.from_pretrained(folder)(*request, return_tensors="pt")
    output = AutoModelForQuestionAnswering.from_pretrained(folder)(**encoded)
    start, end = output.start_logits[0], output.end_logits[0]
    context = [i for i, part in enumerate(encoded.sequence_ids()) if part == 1]
    score, first, last = max((float(start[i] + end[j]), i, j) for i in context for j in context if 0 <= j - i < 30)

    null, best = model_of(folder, backend).run(windows_of(folder, [request]).tokens)[0, :2]
    assert (best["start"], best["end"]) == (first, last + 1)
    assert best["score"] == pytest.approx(score, abs=1e-5)
    assert null["score"] == pytest.approx(float(start[0] + end[0]), abs=1e-5)


@on_both_backends
@pytest.mark.parametrize("kind", [*KINDS, "shipped qa"])
def test_a_batch_gives_the_same_spans_as_single_windows(served: MakeCheckpoint, kind: str, backend: Backend) -> None:
    folder = served(kind)
    model = model_of(folder, backend, spans_per_window=3)
    tokens = windows_of(folder, [*REQUESTS, LONG]).tokens
    together = model.run(tokens)
    alone = np.concatenate([model.run(TokenBatch.take([(tokens, i)])) for i in range(len(tokens))])
    assert together.shape == (len(tokens), 5)  # the null span, three spans and the sum
    np.testing.assert_allclose(together["score"], alone["score"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(together["start"], alone["start"])
    np.testing.assert_array_equal(together["end"], alone["end"])


def test_answers_have_at_most_the_tokens_that_their_window_allows(imported: MakeCheckpoint) -> None:
    folder = imported("extractor")
    model, tokens = model_of(folder), windows_of(folder).tokens
    limited = dataclasses.replace(tokens, longest=np.full(len(tokens), 2, dtype=np.int32))
    assert longest_answer(model, tokens) > 2
    assert longest_answer(model, limited) <= 2


def longest_answer(model: Extractor, tokens: TokenBatch) -> int:
    """The most tokens of an answer that the model finds."""
    found = model.run(tokens)[:, 1:-1]
    return int((found["end"] - found["start"]).max())


def test_token_batches_without_regions_are_refused(imported: MakeCheckpoint) -> None:
    folder = imported("extractor")
    tokens = windows_of(folder).tokens
    plain = TokenBatch(tokens.checkpoint, tokens.ids, tokens.types, tokens.lengths, tokens.truncated)
    with pytest.raises(ValueError, match="regions"):
        model_of(folder).run(plain)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_gives_nearly_the_same_scores(imported: MakeCheckpoint, kind: str) -> None:
    folder = imported(kind)
    tokens = windows_of(folder).tokens
    dtypes: tuple[Dtype, Dtype] = ("float32", "bfloat16")
    exact, rough = (model_of(folder, dtype=dtype).run(tokens) for dtype in dtypes)
    np.testing.assert_allclose(rough["score"], exact["score"], atol=0.5)
