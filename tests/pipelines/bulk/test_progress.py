import pytest

from pipelines.bulk.progress import LINE_EVERY_S, Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines() -> list[str]:
    return []


def test_without_a_terminal_a_line_is_written_every_30_seconds(clock: Clock, lines: list[str]) -> None:
    progress = Progress("sts", 10_000, 4_000, lines.append, clock)
    for done in range(101):
        clock.now = 100.0 + done
        progress.update(10 * done, done // 50)
    assert lines == [
        "sts: 4,300 of 10,000 rows, 10.0 rows/s, 09:30 left",
        "sts: 4,600 of 10,000 rows, 10.0 rows/s, 09:00 left, 1 set aside",
        "sts: 4,900 of 10,000 rows, 10.0 rows/s, 08:30 left, 1 set aside",
    ]


def test_the_start_of_the_workers_does_not_count_towards_the_rate(clock: Clock, lines: list[str]) -> None:
    progress = Progress("sts", 1_000, 0, lines.append, clock)
    clock.now += LINE_EVERY_S
    progress.update(0, 0)
    clock.now += 20
    progress.update(100, 0)
    clock.now += 10
    progress.update(300, 0)
    assert lines == ["sts: 0 of 1,000 rows", "sts: 300 of 1,000 rows, 20.0 rows/s, 00:35 left"]
