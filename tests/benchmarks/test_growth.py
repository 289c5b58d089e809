import itertools
from pathlib import Path

import pytest
import yaml

from benchmarks.growth import fix_replicas, plot, question
from pipelines.checkpoints.resolve import ROOT
from pipelines.format.manifest import read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.qa.data import Example


@pytest.mark.parametrize("size", [8, 500])
def test_a_context_has_about_so_many_tokens(size: int) -> None:
    folder = ROOT / "checkpoints" / "qa"
    tokenizer = TextTokenizer.load(folder, read_manifest(folder))
    words = itertools.cycle(["강가의", "마을에서는", "봄마다", "작은", "장이", "서고", "사람들이", "모인다"])
    example = Example("1", "언제 서는가?", "봄마다", 0, 3)
    body = question(example, words, size, tokenizer)
    assert body["question"] == example.question
    pieces = [int(tokenizer.passages([word]).lengths[0]) - 2 for word in body["context"].split()]
    assert sum(pieces[:-1]) < size <= sum(pieces)


def test_the_encoder_gets_so_many_replicas(tmp_path: Path) -> None:
    path = tmp_path / "serve_config.yaml"
    path.write_text("applications: [{name: munjang}]")
    fix_replicas(path, 3)
    (deployment,) = yaml.safe_load(path.read_text())["applications"][0]["deployments"]
    assert deployment == {"name": "StsEncoder", "autoscaling_config": {"min_replicas": 3, "max_replicas": 3}}


def test_the_plot_has_what_was_measured(tmp_path: Path) -> None:
    records = [{"panel": "pairs", "x": 10, "seconds": 0.1}, {"panel": "callers", "x": 1, "pairs_per_s": 50.0}]
    plot(records, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
