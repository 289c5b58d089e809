import json
import sys

import pytest

from benchmarks.graphs import main
from tests.conftest import MakeCheckpoint


def test_each_batch_gets_the_times_of_both_graphs_and_their_ratio(
    imported: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(imported("classifier")), "--dtype", "float32", "--batches", "1x3", "4x9", "--rounds", "2"]
    monkeypatch.setattr(sys, "argv", ["graphs", *arguments])
    monkeypatch.setattr("benchmarks.graphs.HIGHEST_ID", 50)
    main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["batch"] for line in lines] == ["1x3", "4x9"]
    for line in lines:
        assert line["over_stored"] == pytest.approx(line["stored_ms"] / line["joined_ms"], rel=0.05)
