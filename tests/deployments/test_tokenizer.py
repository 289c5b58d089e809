import asyncio

import pytest
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError

from deployments import tokenizer
from deployments.tokenizer import serves
from pipelines.errors import StageUnavailable


class Model:
    """A handle on replicas that answer, one after the other, with the digests of a script."""

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
    asyncio.run(serves(model, "new"))  # type: ignore[arg-type]


def test_a_tokenizer_waits_until_some_replica_of_its_model_serves_its_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Model("old", "old", "new", "old")
    wait(model, monkeypatch)
    assert asyncio.run(model.remote()) == "old"


def test_a_tokenizer_whose_model_never_comes_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "MODEL_WITHIN_S", 0.01)
    with pytest.raises(TimeoutError):
        wait(Model("old"), monkeypatch)


def test_a_tokenizer_whose_model_failed_to_start_fails_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = DeploymentUnavailableError(DeploymentID(name="StsEncoder", app_name="munjang"))
    with pytest.raises(StageUnavailable, match="StsEncoder"):
        wait(Model(failed), monkeypatch)
