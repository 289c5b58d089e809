import re
from importlib import import_module

from deployments.metrics.registry import REGISTRY
from pipelines.checkpoints.resolve import ROOT

for module in ("group_commit", "model", "requests", "tokenizer"):
    import_module(f"deployments.metrics.{module}")

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_every_metric_is_documented_under_its_name_in_prometheus() -> None:
    names = {f"{one.name}_total" if one.type == "counter" else one.name for one in REGISTRY.collect()}
    assert len(names) > 20
    assert names == set(re.findall(r"`(munjang_[a-z_]+)`", OPERATIONS))
