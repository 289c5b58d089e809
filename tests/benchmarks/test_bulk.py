import time

import pytest

from benchmarks.bulk import CpuTime, busy_time, rows_between
from pipelines.bulk.worker import PartReport


def part(began_s: float, ended_s: float, rows: int = 100) -> PartReport:
    return PartReport(0, rows, 0, "engine", began_s, ended_s)


def test_only_the_time_in_which_all_workers_are_busy_counts() -> None:
    # One worker is ready at 0 and idle from 20 on, the other at 5 and idle from 25 on.
    reports = [part(0, 10), part(10, 20), part(5, 15), part(15, 25)]
    assert busy_time(reports, 2) == (5, 20)
    assert rows_between(reports, 5, 20) == pytest.approx(300)  # 15 s of both, 10 rows/s each


def test_pauses_between_parts_count() -> None:
    reports = [part(0, 8), part(10, 20), part(0, 10), part(12, 20)]
    assert busy_time(reports, 2) == (0, 20)
    assert rows_between(reports, 0, 20) == pytest.approx(400)


def test_a_run_in_which_the_workers_were_never_busy_together_has_no_rate() -> None:
    with pytest.raises(ValueError, match="take more pairs"):
        busy_time([part(0, 10), part(11, 20)], 2)


def test_cpu_time_grows_evenly_between_two_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_time = CpuTime()
    monkeypatch.setattr(cpu_time, "_samples", [(0.0, 1.0), (1.0, 3.0), (3.0, 3.0)])
    assert cpu_time.between(0.5, 2.0) == pytest.approx(1.0)


def test_cpu_time_counts_that_of_this_process() -> None:
    with CpuTime() as cpu_time:
        while not cpu_time._samples:
            time.sleep(0)  # let its thread run
        before_s = time.process_time()
        while time.process_time() < before_s + 0.05:  # psutil counts in hundredths of a second
            pass
    assert cpu_time.between(0.0, time.time()) > 0
