from typing import Any
from uuid import uuid4

import pytest

from deployments.metrics import publish
from deployments.metrics.model import ModelMetrics


class Gauge:
    """Records what Ray's gauge would export."""

    made: dict[str, "Gauge"]

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        assert name not in self.made
        assert description
        self.made[name] = self
        self.tag_keys = tag_keys
        self.values: dict[frozenset[tuple[str, str]], float] = {}

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(self.tag_keys)
        self.values[frozenset(tags.items())] = value


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Gauge]:
    gauges: dict[str, Gauge] = {}
    monkeypatch.setattr(Gauge, "made", gauges, raising=False)
    monkeypatch.setattr(publish, "Gauge", Gauge)
    return gauges


def test_every_value_is_published_again_each_time(made: dict[str, Gauge]) -> None:
    labels = {"task": "sts", "engine": "none", "checkpoint": str(uuid4())}
    metrics = ModelMetrics(**labels)
    kept: dict[str, Any] = {}
    publish.publish(kept)
    assert made["munjang_engine_failures_total"].values[frozenset(labels.items())] == 0  # before the first one
    metrics.failed()
    metrics.ran(0.03, items=3, tokens=4, padded=6)
    publish.publish(kept)
    published = {name: gauge.values.get(frozenset(labels.items())) for name, gauge in made.items()}
    assert published["munjang_engine_failures_total"] == 1
    assert published["munjang_batch_items_sum"] == 3
    assert published["munjang_forward_seconds_count"] == 1
    assert made["munjang_forward_seconds_bucket"].values[frozenset((labels | {"le": "0.025"}).items())] == 0
    assert made["munjang_forward_seconds_bucket"].values[frozenset((labels | {"le": "0.05"}).items())] == 1
    assert not [name for name in made if name.endswith("_created")]


def test_nothing_is_published_outside_of_ray(made: dict[str, Gauge]) -> None:
    publish.start_publishing.cache_clear()
    publish.start_publishing()
    assert not made
