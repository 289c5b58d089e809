import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.autoscaling import METRICS
from deployments.batching.queue import Priority
from deployments.models import MAX_FAILURES_IN_A_ROW, ModelReplica, load_model
from deployments.settings import BatchSettings
from pipelines.checkpoints.resolve import ROOT
from pipelines.cola import model as classifier
from pipelines.engines.choice import EngineSettings
from pipelines.engines.engine import Engine
from pipelines.engines.model_stage import Model
from pipelines.errors import CheckpointMismatch
from pipelines.format.manifest import Manifest, read_manifest
from pipelines.text.token_batch import CheckpointRef, TokenBatch
from tests.deployments.sums import finish_loading

MANIFEST = Manifest(name="tiny", task="cola", kind="classifier", threshold=0.5)


class Idle:
    name = "none"
    slots = 1
    padding_cost = 1.0

    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        raise NotImplementedError


class IdleTwice(Idle):
    slots = 2
    padding_cost = 1.0


class Ones:
    engine: Engine = Idle()
    broken = False
    items = 0

    def run(self, batch: TokenBatch) -> NDArray[Any]:
        self.items += len(batch)
        if self.broken:
            raise RuntimeError("device lost")
        return np.ones(len(batch), dtype=np.float32)


def tokens(count: int, checkpoint: CheckpointRef = MANIFEST.ref) -> TokenBatch:
    return TokenBatch(
        checkpoint=checkpoint,
        ids=np.ones(count, dtype=np.int32),
        types=np.zeros(count, dtype=np.uint8),
        lengths=np.ones(count, dtype=np.int32),
        truncated=np.zeros(count, dtype=np.bool_),
    )


def replica(model: Ones, cache_bytes: int = 0) -> ModelReplica:
    return ModelReplica(MANIFEST, model, BatchSettings(), cache_bytes=cache_bytes)


def test_tokens_of_another_checkpoint_are_refused() -> None:
    other = CheckpointRef("other", "classifier", 0.5)
    with pytest.raises(CheckpointMismatch, match="other"):
        asyncio.run(replica(Ones()).run(tokens(1, other), Priority.INTERACTIVE))


def test_info_describes_the_served_checkpoint() -> None:
    info = replica(Ones()).info()
    assert (info["name"], info["kind"], info["threshold"], info["engine"]) == ("tiny", "classifier", 0.5, "none")
    assert info["digest"] == replica(Ones()).checkpoint() == MANIFEST.digest
    assert set(info["versions"]) >= {"ray", "torch", "transformers"}


def test_a_checkpoint_without_graph_gives_the_reason_in_the_log_and_in_info(caplog: pytest.LogCaptureFixture) -> None:
    manifest = MANIFEST.model_copy(update={"untraced": "no memory left"})
    with caplog.at_level("WARNING", "ray.serve"):
        info = ModelReplica(manifest, Ones(), BatchSettings()).info()
    assert info["untraced"] == "no memory left"
    assert info["digest"] == MANIFEST.digest
    assert "tiny has no ONNX graph: it could not be traced: no memory left" in caplog.text


def test_a_replica_whose_batches_all_fail_is_not_healthy_until_one_succeeds() -> None:
    async def scenario() -> None:
        model = Ones()
        serving = replica(model)
        serving.check_health()
        model.broken = True
        for _ in range(MAX_FAILURES_IN_A_ROW):
            await serving.run(tokens(1), Priority.INTERACTIVE)
        with pytest.raises(RuntimeError, match="failed"):
            serving.check_health()
        model.broken = False
        await serving.run(tokens(1), Priority.INTERACTIVE)
        serving.check_health()

    asyncio.run(scenario())


def test_a_replica_is_not_healthy_if_items_wait_while_no_batch_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise TypeError("the thread ends")

    async def scenario() -> None:
        serving = ModelReplica(MANIFEST, Ones(), BatchSettings(max_batch_s=1e-9))
        monkeypatch.setattr(serving._batcher, "_next_batch", broken)
        call = asyncio.create_task(serving.run(tokens(1), Priority.INTERACTIVE))
        await asyncio.sleep(0)  # the task submits the item
        serving._batcher._threads.shutdown()
        with pytest.raises(RuntimeError, match="waiting for 0 s, and no batch runs"):
            serving.check_health()
        call.cancel()

    asyncio.run(scenario())


def test_busy_time_is_reported_as_a_share_of_time() -> None:
    async def scenario() -> None:
        serving = replica(Ones())
        await serving.run(tokens(5), Priority.BULK)
        report = await serving.record_autoscaling_stats()
        assert 0 < report["busy"] <= 1
        assert report["waiting_s"] == 0
        assert (await serving.record_autoscaling_stats())["busy"] == 0

    asyncio.run(scenario())


def test_the_report_for_the_graph_has_calls_and_batches() -> None:
    async def scenario() -> None:
        serving = replica(Ones(), 10_000)
        for count in (5, 5):  # one item that the cache has after the first call
            await serving.run(tokens(count), Priority.INTERACTIVE)
        report = await serving.report()
        assert (report["requests"], report["batches"], report["items"], report["waiting"]) == (2, 1, 5, 0)
        assert (report["mean_batch"], report["padding"], report["calls"]) == (5, 0, {})

    asyncio.run(scenario())


def test_an_outcome_names_the_engine_and_the_checkpoint_also_if_all_its_items_were_cached() -> None:
    async def scenario() -> None:
        serving = replica(Ones(), 10_000)
        for batch_items in (5, 0):
            outcome = await serving.run(tokens(5), Priority.INTERACTIVE)
            assert outcome.place == ("", Idle.name, MANIFEST.digest)
            assert outcome.work.batch_items == batch_items

    asyncio.run(scenario())


def test_a_replica_without_a_reservation_reports_the_cores_that_its_batches_take() -> None:
    async def scenario() -> None:
        model = Ones()
        model.engine = IdleTwice()
        report = await ModelReplica(MANIFEST, model, BatchSettings(), threads=3).record_autoscaling_stats()
        assert report["cores"] == 6
        assert set(report) == set(METRICS)

    asyncio.run(scenario())


def test_a_replica_with_a_cache_runs_equal_items_once_and_reports_it() -> None:
    async def scenario() -> None:
        model = Ones()
        serving = replica(model, 10_000)
        for _ in range(3):
            assert (await serving.run(tokens(1), Priority.INTERACTIVE)).rows.tolist() == [1]
        assert model.items == 1
        cache = serving.info()["cache"]
        assert (cache["hits"], cache["misses"]) == (2, 1)
        assert 0 < cache["bytes"] < 10_000

    asyncio.run(scenario())


def test_tokens_of_another_checkpoint_are_refused_even_if_equal_tokens_are_cached() -> None:
    async def scenario() -> None:
        serving = replica(Ones(), 10_000)
        await serving.run(tokens(1), Priority.INTERACTIVE)
        with pytest.raises(CheckpointMismatch):
            await serving.run(tokens(1, CheckpointRef("other", "classifier", 0.5)), Priority.INTERACTIVE)

    asyncio.run(scenario())


def test_a_model_with_two_slots_is_fully_busy_when_both_threads_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    for module in ("batching.batcher", "models"):
        monkeypatch.setattr(f"deployments.{module}.time", SimpleNamespace(monotonic=lambda: now_s[0]))

    class Two(Ones):
        engine = IdleTwice()
        together = threading.Barrier(2, action=lambda: now_s.__setitem__(0, 10.0))

        def run(self, batch: TokenBatch) -> NDArray[Any]:
            self.together.wait(10)
            return super().run(batch)

    async def scenario() -> None:
        serving = ModelReplica(MANIFEST, Two(), BatchSettings(max_tokens=1))
        await serving.run(tokens(2), Priority.INTERACTIVE)
        assert (await serving.record_autoscaling_stats())["busy"] == 1

    asyncio.run(scenario())


def test_a_lone_item_runs_in_a_second_engine_with_the_same_results() -> None:
    folder = ROOT / "checkpoints" / "cola"
    manifest = read_manifest(folder)
    model, lone = load_model(folder, manifest, EngineSettings(), classifier.load)
    assert lone is not None
    lone.chooses(tokens=1)
    finish_loading(lone)
    batch = tokens(5, manifest.ref)
    np.testing.assert_array_equal(lone.run(batch), model.run(batch))


def test_a_second_engine_with_other_answers_than_the_golden_ones_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    folder = ROOT / "checkpoints" / "cola"
    loads: list[EngineSettings] = []

    def load(folder: Path, manifest: Manifest, settings: EngineSettings) -> Model:
        loads.append(settings)
        loaded = classifier.load(folder, manifest, settings)
        return (
            loaded if len(loads) == 1 else classifier.Classifier(loaded.engine, positive=1 - manifest.positive_output)
        )

    _, lone = load_model(folder, read_manifest(folder), EngineSettings(), load)
    assert lone is not None
    assert not lone.chooses(tokens=1)
    finish_loading(lone)
    assert [settings.threads for settings in loads] == [1, 2]
    assert "golden input 0 should give" in caplog.text
    with pytest.raises(RuntimeError, match="not loaded"):
        lone.run(tokens(1))
