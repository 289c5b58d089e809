"""Compare both backends with transformers and sentence-transformers on the same weights and tokens."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from pipelines.engines.choice import Backend, EngineSettings
from pipelines.engines.engine import Engine
from pipelines.engines.loading import load_engine
from pipelines.format.kinds import auto_class_of
from pipelines.format.manifest import KIND_SPECS, Manifest, read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.text.token_batch import TokenBatch
from tests.checkpoint_factory import HALF_PRECISION_KINDS, KINDS
from tests.conftest import MakeCheckpoint
from tests.pipelines.conftest import SHIPPED
from tests.pipelines.engines.batches import items_of, random_batch

Library = Callable[[TokenBatch], Mapping[str, torch.Tensor]]

UNLIMITED = 300  # longest item in tokens, for checkpoints without a limit
TOLERANCE = {"rtol": 1e-5, "atol": 3e-5}  # twelve layers add up the rounding of float32

pytestmark = [
    pytest.mark.parametrize("backend", ["torch", "onnx"]),
    pytest.mark.parametrize("kind", KINDS + HALF_PRECISION_KINDS + SHIPPED),
]


class Case:
    """A checkpoint's engine, and batches for it."""

    def __init__(self, served: MakeCheckpoint, kind: str, backend: Backend) -> None:
        self.folder = served(kind)
        self.manifest: Manifest = read_manifest(self.folder)
        self.names = KIND_SPECS[self.manifest.kind].outputs
        settings = EngineSettings(device="cpu", backend=backend, dtype="float32")
        self.engine: Engine = load_engine(self.folder, self.manifest, settings)
        self.longest = self.manifest.max_tokens or UNLIMITED

    def batch(self, *lengths: int, seed: int = 0) -> TokenBatch:
        tokenizer = TextTokenizer.load(self.folder, self.manifest).tokenizer
        batch = random_batch(lengths, tokenizer.get_vocab_size(), seed)
        return batch if self.manifest.token_types else replace(batch, types=np.zeros_like(batch.types))

    def alone(self, batch: TokenBatch, name: str) -> list[NDArray[np.float32]]:
        return [self.engine.outputs(item, name)[0][0] for item in items_of(batch)]


@pytest.fixture
def case(served: MakeCheckpoint, kind: str, backend: Backend) -> Case:
    return Case(served, kind, backend)


def assert_same(rows: NDArray[np.float32], expected: list[NDArray[np.float32]]) -> None:
    """Compare rows up to the end of each item; values after it are undefined."""
    assert len(rows) == len(expected)
    for row, one in zip(rows, expected, strict=True):
        np.testing.assert_allclose(row[: len(one)], one, **TOLERANCE)


@torch.inference_mode()
def test_an_engine_gives_the_same_outputs_as_the_library(case: Case) -> None:
    library = sentence_transformers(case) if case.manifest.kind == "bi-encoder" else transformers(case)
    for item in items_of(case.batch(1, 2, 17, case.longest)):
        theirs = library(item)
        for name, ours in zip(case.names, case.engine.outputs(item, *case.names), strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs[name].numpy(), **TOLERANCE)


def tensors_of(item: TokenBatch) -> dict[str, torch.Tensor]:
    ids = torch.tensor(item.ids[None], dtype=torch.int64)  # (1, tokens)
    types = torch.tensor(item.types[None], dtype=torch.int64)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types}


def sentence_transformers(case: Case) -> Library:
    model = SentenceTransformer(str(case.folder), device="cpu").float()

    def embed(item: TokenBatch) -> dict[str, torch.Tensor]:
        tensors = tensors_of(item)
        if isinstance(model[0], StaticEmbedding):
            tensors = {"input_ids": tensors["input_ids"][0], "offsets": torch.zeros(1, dtype=torch.int64)}
        embedding = model(tensors)["sentence_embedding"]
        return {"sentence_embedding": torch.nn.functional.normalize(embedding, dim=1)}

    return embed


def transformers(case: Case) -> Library:
    model = auto_class_of(case.manifest.kind).from_pretrained(case.folder, dtype=torch.float32)
    segments = getattr(model.config, "type_vocab_size", 1)
    unknown = {"token_type_ids"} if segments == 1 else set()
    return lambda item: model(**{name: tensor for name, tensor in tensors_of(item).items() if name not in unknown})


def test_items_give_the_same_outputs_batched_and_alone(case: Case) -> None:
    short = tuple(range(1, 40, 3))
    for lengths in ((1, 1, 1), (1, case.longest), (case.longest, case.longest), (*short, *reversed(short))):
        batch = case.batch(*lengths)
        for name, rows in zip(case.names, case.engine.outputs(batch, *case.names), strict=True):
            assert_same(rows, case.alone(batch, name))


def test_outputs_are_returned_in_the_requested_order(case: Case) -> None:
    batch = case.batch(3, 5)
    there, back = case.engine.outputs(batch, *case.names), case.engine.outputs(batch, *reversed(case.names))
    for one, other in zip(there, reversed(back), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({output.tobytes() for output in there}) == len(case.names)
