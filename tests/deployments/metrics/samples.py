"""Reads the metrics of this process, in which other tests may have counted, too."""

from collections.abc import Mapping

from prometheus_client.samples import Sample

from deployments.metrics.registry import REGISTRY


def value(name: str, labels: Mapping[str, str]) -> float:
    """The value of a sample; 0 if there is none."""
    return REGISTRY.get_sample_value(name, dict(labels)) or 0.0


class Changes:
    """How much samples with these labels have grown since the beginning."""

    def __init__(self, **labels: str) -> None:
        self._labels = labels
        self._before = {(one.name, tuple(sorted(one.labels.items()))): one.value for one in _samples()}

    def __call__(self, name: str, **more: str) -> float:
        labels = self._labels | more
        return value(name, labels) - self._before.get((name, tuple(sorted(labels.items()))), 0.0)


def _samples() -> list[Sample]:
    return [sample for family in REGISTRY.collect() for sample in family.samples]
