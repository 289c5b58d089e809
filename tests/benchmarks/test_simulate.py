import math
from pathlib import Path

import numpy as np

from benchmarks.scaling.cluster import Outcome
from benchmarks.scaling.traces import TRACES, Trace, bulk_file
from benchmarks.simulate import POLICIES, Figures, draw, write

TRACE = Trace("four", np.arange(4.0), np.ones(4), np.full(4, 2.0), np.zeros(4, dtype=np.bool_), 100.0)
OUTCOME = Outcome(np.array([0.0, 1.0, 5.0, math.inf]), np.array([1.0, 2.0, 6.0, math.inf]), 7200.0, np.array([1, 3, 2]))


def test_requests_that_are_late_or_never_done_miss_their_deadline() -> None:
    figures = Figures.of(TRACE, OUTCOME)
    assert (figures.requests, figures.missed, figures.replica_hours, figures.most) == (4, 0.5, 2.0, 3)
    assert figures.row("four", "a policy").startswith("| four | a policy | 4 | 50.00% | 2.0 | ")


def test_the_page_shows_the_table_and_a_picture_of_each_trace(tmp_path: Path) -> None:
    output = tmp_path / "page"
    draw(Path(f"{output}-four.png"), TRACE, dict.fromkeys(POLICIES, OUTCOME))
    write(output, "# Title\n\n", "| table |\n", ["four"])
    assert output.with_suffix(".md").read_text() == "# Title\n\n| table |\n\n![four](page-four.png)\n"
    assert Path(f"{output}-four.png").stat().st_size > 1000


def test_the_requests_of_a_trace_are_in_order_and_depend_only_on_the_seed() -> None:
    for make in TRACES.values():
        trace = make(1)
        assert (np.diff(trace.arrival_s) >= 0).all()
        assert np.array_equal(trace.arrival_s, make(1).arrival_s)


def test_a_file_comes_as_bulk_requests_with_a_deadline_of_their_own() -> None:
    trace = bulk_file(1)
    assert trace.bulk.sum() == 1_000
    assert set(trace.deadline_s[trace.bulk]) == {120.0}
    assert set(trace.deadline_s[~trace.bulk]) == {10.0}
