"""Prompts before texts, compared with sentence-transformers on the same weights."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder, SentenceTransformer

from pipelines.chat.embedding import Embedder
from pipelines.chat.store.build import build, wants_build
from pipelines.chat.store.documents import Document
from pipelines.chat.store.store import Store
from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.manifest import Prompts, Role, read_manifest
from tests.checkpoint_factory import MAX_TOKENS
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy, edit_json, refused

CONFIG = "config_sentence_transformers.json"
LONG = "가 " * (MAX_TOKENS - 3)  # fits without a prompt
TEXTS = ["오늘 과제는 코딩 과제입니다.", " The museum is in Busan.", LONG + "나", LONG + "다", LONG * 2]
ALL = {"sts": "오늘 과제: ", "query": "query: ", "document": "the museum: "}

pytestmark = pytest.mark.usefixtures("untraced")
Made = Callable[..., Path]


@pytest.fixture
def prompted(checkpoint: MakeCheckpoint, tmp_path: Path) -> Made:
    """Makes checkpoints with given prompts, as sentence-transformers saves them."""

    def make(kind: str, prompts: Mapping[str, object], default: str | None = None) -> Path:
        folder = copy(checkpoint(kind), tmp_path / "source")
        edit_json(folder / CONFIG, prompts=prompts, default_prompt_name=default)
        return folder

    torch.set_num_threads(1)
    return make


def unit(vectors: NDArray[Any]) -> NDArray[Any]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["bi-encoder", "static"])
@pytest.mark.parametrize(("prompts", "default"), [({}, None), (ALL, None), (ALL, "sts"), (ALL, "query")])
def test_texts_are_embedded_as_the_library_does(
    prompted: Made, destination: Path, kind: str, prompts: dict[str, str], default: str | None
) -> None:
    source = prompted(kind, prompts, default)
    import_checkpoint(str(source), destination)
    ours, theirs = Embedder.load(destination), SentenceTransformer(str(source), device="cpu")
    methods: dict[Role, Any] = {
        "symmetric": theirs.encode,
        "query": theirs.encode_query,
        "document": theirs.encode_document,
    }
    for role, encode in methods.items():
        np.testing.assert_allclose(ours.embed(TEXTS, role), unit(encode(TEXTS)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("default", [None, "sts"])
def test_pairs_are_compared_as_the_library_does(prompted: Made, destination: Path, default: str | None) -> None:
    source = prompted("bi-encoder", ALL, default)
    import_checkpoint(str(source), destination)
    pairs = [(TEXTS[0], text) for text in TEXTS]

    async def served() -> Any:
        return await load_pipeline(destination, "sts")(pairs)

    results = asyncio.run(served())
    vectors = unit(SentenceTransformer(str(source), device="cpu").encode(TEXTS))
    assert [result.score for result in results] == pytest.approx(vectors @ vectors[0], abs=1e-5)
    assert [result.truncated for result in results] == [False, False, bool(default), bool(default), True]


@pytest.mark.parametrize(
    ("prompts", "default", "expected"),
    [
        ({}, None, Prompts()),
        ({"query": "q", "document": "d"}, None, Prompts(query="q", document="d")),
        ({"query": "q", "passage": "p", "corpus": "c"}, None, Prompts(query="q", document="p")),
        ({"query": "q", "document": "", "corpus": "c"}, None, Prompts(query="q", document="c")),
        ({"query": "q", "other": "o"}, "query", Prompts(symmetric="q", query="q")),
        ({"passage": "p"}, "passage", Prompts(symmetric="p", document="p")),
        ({"other": "o", "unused": "u"}, "other", Prompts(symmetric="o", query="o", document="o")),
        ({"other": "o"}, None, Prompts()),
    ],
)
def test_the_name_of_a_prompt_decides_its_role(
    prompted: Made, destination: Path, prompts: dict[str, str], default: str | None, expected: Prompts
) -> None:
    source = prompted("static", prompts, default)
    assert import_checkpoint(str(source), destination).prompts == expected
    assert read_manifest(destination).prompts == expected


@pytest.mark.anyio
async def test_a_store_uses_the_document_prompt_and_a_search_the_query_prompt(
    prompted: Made, destination: Path
) -> None:
    source = prompted("bi-encoder", ALL)
    import_checkpoint(str(source), destination)
    embedder, theirs = Embedder.load(destination), SentenceTransformer(str(source), device="cpu")
    folder = destination.parent / "store"
    build([Document(f"{number}.txt", text) for number, text in enumerate(TEXTS[:2])], folder, embedder)
    (vector,) = embedder.embed(["과제"], "query")
    found = await (await Store.open(folder)).nearest(vector, 2)
    texts = [passage.text for passage in found]
    cosines = unit(theirs.encode_document(texts)) @ unit(theirs.encode_query(["과제"]))[0]
    assert [passage.similarity for passage in found] == pytest.approx(cosines, abs=1e-5)


def test_a_store_with_other_prompts_must_be_built_again(prompted: Made, destination: Path) -> None:
    documents, folder = [Document("a.txt", "오늘 과제")], destination.parent / "store"
    import_checkpoint(str(prompted("static", ALL)), destination)
    embedder = Embedder.load(destination)
    build(documents, folder, embedder)
    assert not wants_build(documents, folder, embedder.checkpoint)
    other = read_manifest(destination).model_copy(update={"prompts": Prompts(document="passage: ")})
    assert wants_build(documents, folder, other.digest)


def test_pooling_that_excludes_the_prompt_is_unsupported(prompted: Made, destination: Path) -> None:
    source = prompted("bi-encoder", ALL)
    edit_json(source / "1_Pooling" / "config.json", include_prompt=False)
    refused(source, destination, CheckpointUnsupported, "pooling excludes prompts")
    edit_json(source / CONFIG, prompts={"other": "o"})  # a prompt that is never used
    import_checkpoint(str(source), destination)


def test_a_cross_encoder_with_a_default_prompt_is_unsupported(
    prompted: Made, checkpoint: MakeCheckpoint, destination: Path
) -> None:
    source = prompted("cross-encoder-sigmoid", {"query": "the museum: "}, "query")
    (theirs,) = CrossEncoder(str(source), device="cpu").predict([("오늘", "과제")])
    (plain,) = CrossEncoder(str(checkpoint("cross-encoder-sigmoid")), device="cpu").predict([("오늘", "과제")])
    assert abs(theirs - plain) > 1e-4
    refused(source, destination, CheckpointUnsupported, "'the museum: '")
    edit_json(source / CONFIG, default_prompt_name=None)
    assert import_checkpoint(str(source), destination).prompts == Prompts()


def test_a_cross_encoder_ignores_the_prompt_of_its_original_bi_encoder(
    prompted: Made, checkpoint: MakeCheckpoint, destination: Path
) -> None:
    source = prompted("cross-encoder-sigmoid", {"query": "the museum: "}, "query")
    edit_json(source / CONFIG, model_type="SentenceTransformer")
    one, other = (
        CrossEncoder(str(folder), device="cpu").predict([("오늘", "과제")])
        for folder in (source, checkpoint("cross-encoder"))
    )
    assert one == pytest.approx(other, abs=1e-6)
    import_checkpoint(str(source), destination)


@pytest.mark.parametrize(
    ("prompts", "default"), [({"query": 5}, None), ({"sts": "\ud800"}, "sts"), ([], None), ({}, "nowhere")]
)
def test_invalid_prompts_are_damaged(prompted: Made, destination: Path, prompts: Any, default: str | None) -> None:
    refused(prompted("static", prompts, default), destination, CheckpointDamaged, "source")


@pytest.mark.parametrize("prompts", [{"query": 5}, ["query: "]])
def test_prompts_that_are_no_texts_are_named(prompted: Made, destination: Path, prompts: Any) -> None:
    why = rf"{CONFIG}: its prompts are not an object of texts, such as"
    refused(prompted("static", prompts), destination, CheckpointDamaged, why)


@pytest.mark.parametrize("prompts", [["a"], "a", {"a": "b"}])
def test_invalid_prompts_of_a_cross_encoder_are_damaged(prompted: Made, destination: Path, prompts: Any) -> None:
    refused(prompted("cross-encoder-sigmoid", prompts, ["a"]), destination, CheckpointDamaged, "source")  # type: ignore[arg-type]
