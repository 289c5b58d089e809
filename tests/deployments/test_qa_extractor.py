"""Windows of a QA checkpoint: its tokenizer and its model as in the replicas, without Ray."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.batching.queue import Priority
from deployments.models import QaExtractor
from deployments.settings import QaSettings
from deployments.tokenizer import Tokenizer
from pipelines.engines.choice import EngineSettings
from pipelines.errors import CheckpointError, CheckpointUnsupported
from pipelines.format.manifest import read_manifest, write_manifest
from pipelines.format.windows import WindowOverrides, WindowSettings
from tests.checkpoint_factory import MAX_TOKENS
from tests.conftest import MakeCheckpoint

REQUEST = ("Where is the museum?", "The museum is in Busan. It opened in 1998. " * 12)
OWN = WindowSettings(max_seq_length=MAX_TOKENS, max_query_length=20, max_answer_length=9, doc_stride=40)
TORCH = EngineSettings(device="cpu", backend="torch", dtype="float32")


class Model:
    """A handle on a replica that serves the checkpoint of this digest."""

    deployment_name = "QaExtractor"

    def __init__(self, digest: str) -> None:
        self._digest = digest

    @property
    def checkpoint(self) -> "Model":
        return self

    async def remote(self) -> str:
        return self._digest


@pytest.fixture
def folder(imported: MakeCheckpoint, tmp_path: Path) -> Path:
    """A checkpoint with window settings of its own."""
    folder = Path(shutil.copytree(imported("extractor"), tmp_path / "qa"))
    write_manifest(folder, read_manifest(folder).model_copy(update={"windows": OWN, "golden": []}))
    return folder


async def serve(folder: Path, windows: WindowOverrides) -> tuple[Any, NDArray[np.void], dict[str, Any]]:
    """The windows of the request, the spans found in them, and the window settings in /info."""
    settings = QaSettings(checkpoint=str(folder), windows=windows, engine=TORCH)
    extractor = QaExtractor.func_or_class(settings)
    tokenizer = Tokenizer.func_or_class.__new__(Tokenizer.func_or_class)
    await tokenizer.__init__(str(folder), "qa", Model(extractor.checkpoint()), settings.windows)
    made = await tokenizer.windows([REQUEST])
    outcome = await extractor.run(made.tokens, Priority.INTERACTIVE)
    return made, outcome.rows, extractor.info()["windows"]


@pytest.mark.parametrize(
    "given", [{}, {"max_seq_length": 100}, {"max_answer_length": 3}, {"max_seq_length": 128, "doc_stride": 80}]
)
def test_tokenizer_and_model_use_the_windows_of_the_checkpoint_except_for_overrides(
    folder: Path, given: dict[str, int]
) -> None:
    expected = OWN.model_dump() | given
    made, spans, reported = asyncio.run(serve(folder, WindowOverrides(**given)))
    assert reported == expected
    assert made.tokens.lengths.max() == expected["max_seq_length"]
    assert set(np.diff(made.first).tolist()) == {expected["doc_stride"]}
    assert (spans["end"] - spans["start"])[:, 1:].max() == expected["max_answer_length"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"max_seq_length": 32}, "qa.windows with the checkpoint's own: .* max_seq_length has no room"),
        ({"max_seq_length": MAX_TOKENS + 1}, f"less than max_seq_length {MAX_TOKENS + 1}"),
    ],
)
def test_a_replica_does_not_start_with_windows_that_do_not_fit_the_checkpoint(
    folder: Path, given: dict[str, int], why: str
) -> None:
    with pytest.raises(CheckpointUnsupported, match=why):
        asyncio.run(serve(folder, WindowOverrides(**given)))


def test_a_checkpoint_with_longer_windows_than_its_model_reads_is_refused(folder: Path) -> None:
    long = WindowSettings(max_seq_length=384, doc_stride=128)
    write_manifest(folder, read_manifest(folder).model_copy(update={"windows": long}))
    with pytest.raises(CheckpointError, match=f"reads {MAX_TOKENS} tokens, less than max_seq_length 384"):
        asyncio.run(serve(folder, WindowOverrides()))
