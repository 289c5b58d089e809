"""What sentence-transformers does beside the modules, compared with it on the same weights."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.in_process import load_pipeline
from pipelines.engines.choice import EngineSettings
from pipelines.errors import CheckpointUnsupported
from pipelines.format.encode_settings import refuse_unknown_settings, served_dimensions
from pipelines.format.manifest import read_manifest
from pipelines.format.sentence_transformer import load_sentence_transformer
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy, edit_json

CONFIG = "config_sentence_transformers.json"
PAIRS = [
    ("오늘 과제는 코딩 과제입니다.", "The museum is in Busan."),
    ("The museum is in Busan.", "Where is the museum?"),
    ("회의는 세 시에 시작해요.", "오늘 과제"),
]


@pytest.mark.parametrize(("kind", "dimensions"), [("bi-encoder", 8), ("static", 8), ("static", 1000)])
def test_embeddings_are_cut_as_the_library_does(
    checkpoint: MakeCheckpoint, tmp_path: Path, kind: str, dimensions: int
) -> None:
    source = copy(checkpoint(kind), tmp_path / "source")
    edit_json(source / CONFIG, truncate_dim=dimensions)
    import_checkpoint(str(source), tmp_path / "made")
    assert read_manifest(tmp_path / "made").dimensions == dimensions
    theirs = SentenceTransformer(str(source), device="cpu")
    left, right = (theirs.encode([pair[side] for pair in PAIRS], normalize_embeddings=True) for side in (0, 1))
    for backend in ("torch", "onnx"):
        settings = EngineSettings.model_validate({"device": "cpu", "backend": backend})
        found = asyncio.run(load_pipeline(tmp_path / "made", "sts", settings)(PAIRS))
        np.testing.assert_allclose([one.score for one in found], (left * right).sum(axis=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        ("static", {"similarity_fn_name": "euclidean"}, "similarity_fn_name 'euclidean'"),
        ("static", {"similarity_fn_name": "manhattan"}, "similarity_fn_name 'manhattan'"),
        ("static", {"similarity_fn_name": "dot"}, "'dot' is served only if the last module is Normalize"),
        ("bi-encoder", {"similarity_fn_name": "dot", "truncate_dim": 8}, "'dot' is served only if"),
        ("static", {"truncate_dim": -3}, "truncate_dim -3"),
        ("static", {"precision": "ubinary"}, "sets precision to 'ubinary'"),
        ("static", {"novel_setting": {"a": 1}}, "sets novel_setting"),
        ("static", {"model_type": "SparseEncoder"}, "sets model_type to 'SparseEncoder'"),
    ],
)
def test_what_is_not_done_here_is_refused_by_name(
    checkpoint: MakeCheckpoint, tmp_path: Path, kind: str, changes: dict[str, Any], why: str
) -> None:
    source = copy(checkpoint(kind), tmp_path / "source")
    edit_json(source / CONFIG, **changes)
    with pytest.raises(CheckpointUnsupported, match=why):
        import_checkpoint(str(source), tmp_path / "made")


def test_the_dot_product_of_unit_vectors_is_the_cosine(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = copy(checkpoint("bi-encoder"), tmp_path / "source")
    edit_json(source / CONFIG, similarity_fn_name="dot", precision="float32", novel_setting=None)
    refuse_unknown_settings(source)
    assert served_dimensions(load_sentence_transformer(source), source) is None
