from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipelines.cola.model import Classifier, load
from pipelines.engines.choice import Backend, Dtype, EngineSettings
from pipelines.format.manifest import read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.text.token_batch import TokenBatch
from tests.checkpoint_factory import MAX_TOKENS
from tests.conftest import MakeCheckpoint

KINDS = ["classifier", "classifier-distilbert", "shipped cola"]
PASSAGES = ["I are a boy", "The children are playing in the garden.", "", "a " * (MAX_TOKENS + 9), "오늘 과제"]


on_both_backends = pytest.mark.parametrize("backend", ["torch", "onnx"])


def model_of(folder: Path, backend: Backend = "torch", dtype: Dtype = "float32") -> Classifier:
    return load(folder, read_manifest(folder), EngineSettings(device="cpu", backend=backend, dtype=dtype))


def tokens_of(folder: Path) -> TokenBatch:
    return TextTokenizer.load(folder, read_manifest(folder)).passages(PASSAGES)


@on_both_backends
@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_probabilities_are_those_of_plain_transformers(served: MakeCheckpoint, kind: str, backend: Backend) -> None:
    folder = served(kind)
    encoded = AutoTokenizer.from_pretrained(folder)(PASSAGES, truncation=True, padding=True, return_tensors="pt")
    logits = AutoModelForSequenceClassification.from_pretrained(folder, dtype="float32")(**encoded).logits
    ours = model_of(folder, backend).run(tokens_of(folder))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, logits.softmax(dim=1)[:, 1].numpy(), rtol=0, atol=1e-5)


@on_both_backends
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_gives_the_same_results_as_single_passages(served: MakeCheckpoint, kind: str, backend: Backend) -> None:
    tokens, model = tokens_of(served(kind)), model_of(served(kind), backend)
    alone = [model.run(TokenBatch.take([(tokens, i)]))[0] for i in range(len(tokens))]
    np.testing.assert_allclose(model.run(tokens), alone, rtol=0, atol=1e-5)


def test_bfloat16_gives_nearly_the_same_results(imported: MakeCheckpoint) -> None:
    tokens = tokens_of(imported("classifier"))
    dtypes: tuple[Dtype, Dtype] = ("bfloat16", "float32")
    rough, exact = (model_of(imported("classifier"), dtype=dtype).run(tokens) for dtype in dtypes)
    np.testing.assert_allclose(rough, exact, atol=0.1)


def test_extreme_logits_give_probabilities_0_and_1(imported: MakeCheckpoint) -> None:
    class ExtremeEngine:
        name = "extreme"

        def outputs(self, batch: TokenBatch, *names: str) -> tuple[np.ndarray, ...]:
            return (np.array([[500, -500], [-500, 500]], dtype=np.float32),)

    model = Classifier(ExtremeEngine())  # type: ignore[arg-type]
    assert model.run(tokens_of(imported("classifier"))).tolist() == [0, 1]
    model = Classifier(ExtremeEngine(), positive=0)  # type: ignore[arg-type]
    assert model.run(tokens_of(imported("classifier"))).tolist() == [1, 0]
