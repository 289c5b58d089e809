import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError

from deployments import tokenizer
from deployments.tokenizer import Tokenizer, wait_until_served
from pipelines.errors import StageUnavailable
from pipelines.format.manifest import Prompts, read_manifest, write_manifest
from pipelines.format.tokenizer import TextTokenizer
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import copy


class Model:
    """A handle on replicas that answer in turn with the digests of a script."""

    deployment_name = "StsEncoder"

    def __init__(self, *script: str | Exception) -> None:
        self._script = list(script)

    @property
    def checkpoint(self) -> "Model":
        return self

    async def remote(self) -> str:
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def wait(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "POLL_S", 0)
    asyncio.run(wait_until_served(model, "new"))  # type: ignore[arg-type]


def test_a_tokenizer_waits_until_some_replica_of_its_model_serves_its_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Model("old", "old", "new", "old")
    wait(model, monkeypatch)
    assert asyncio.run(model.remote()) == "old"


def test_a_tokenizer_stops_waiting_for_its_model_after_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "MODEL_TIMEOUT_S", 0.01)
    with pytest.raises(TimeoutError):
        wait(Model("old"), monkeypatch)


def test_a_tokenizer_fails_if_its_model_failed_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = DeploymentUnavailableError(DeploymentID(name="StsEncoder", app_name="munjang"))
    with pytest.raises(StageUnavailable, match="StsEncoder"):
        wait(Model(failed), monkeypatch)


def test_a_replica_puts_the_prompt_of_the_role_before_each_text(imported: MakeCheckpoint, tmp_path: Path) -> None:
    folder = copy(imported("static"), tmp_path / "prompted")
    prompts = Prompts(symmetric="the ", query="museum ", document="value ")
    manifest = write_manifest(folder, read_manifest(folder).model_copy(update={"prompts": prompts}))

    async def scenario() -> list[Any]:
        cls: Any = Tokenizer.func_or_class
        replica = cls.__new__(cls)
        await replica.__init__(str(folder), "sts", Model(manifest.digest))
        return [await replica.passages(["가"]), await replica.passages(["가"], "query")]

    plain = TextTokenizer.load(folder, read_manifest(imported("static")))
    for tokens, text in zip(asyncio.run(scenario()), ["the 가", "museum 가"], strict=True):
        np.testing.assert_array_equal(tokens.ids, plain.passages([text]).ids)
