import numpy as np
import pytest

from benchmarks.scaling.cluster import Cluster, Outcome, Setup
from benchmarks.simulate import POLICIES
from benchmarks.sizing import CALL_S, END_S, HEAD, SETTLED_S, row, steady
from pipelines.checkpoints.resolve import ROOT


def test_a_steady_load_is_as_much_work_as_it_says() -> None:
    trace = steady(5, seed=1)
    assert trace.work_s.sum() / END_S == pytest.approx(5, rel=0.05)
    assert set(trace.work_s) == {CALL_S}


def test_the_row_leaves_out_the_start() -> None:
    trace = steady(1, seed=1)
    replicas = np.full(END_S, 2)
    replicas[:SETTLED_S] = 9
    wait_s = np.where(trace.arrival_s < SETTLED_S, 100.0, 0.5)
    assert row(trace, Outcome(wait_s, wait_s, 0.0, replicas)) == "| 1 | 2.0 | 2 | 0.50 |\n"


def test_the_page_shows_what_the_policy_does() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert HEAD in page
    for load in (0.5, 2):
        trace = steady(load, seed=1)
        assert row(trace, Cluster(trace, POLICIES["Munjang"](), Setup()).run()) in page
