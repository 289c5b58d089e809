import json
from pathlib import Path

import pytest
import torch

from pipelines.checkpoints.manifest import Manifest, Training
from pipelines.training import from_scratch


def test_the_manifest_names_the_command_that_makes_the_checkpoint_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[object] = []

    def train(folder: Path, seed: int) -> from_scratch.Export:
        given.extend([folder, seed, torch.get_num_threads()])
        return export

    def export(output: Path, training: Training) -> Manifest:
        given.append(output)
        return Manifest(name="tiny", task="sts", kind="bi-encoder", training=training, threshold=0.6)

    monkeypatch.setattr("sys.argv", ["train", "--data", "texts", "--output", str(tmp_path), "--seed", "7"])
    from_scratch.main("sts", "About.", ["some pairs"], train)
    assert given == [Path("texts"), 7, 1, tmp_path]
    training = json.loads(capsys.readouterr().out)["training"]
    assert training["command"] == "python -m pipelines.sts.from_scratch --seed 7"
    assert (training["data"], training["seed"]) == (["some pairs"], 7)
    assert training["minutes"] >= 0
