import pytest

from pipelines.bulk.source import LEAST_BYTES, MOST_BYTES, MOST_BYTES_GPU, Format, format_of, part_bytes_of


@pytest.mark.parametrize(
    ("total", "workers", "gpu", "expected"),
    [
        (1, 1, False, LEAST_BYTES),
        (100 * LEAST_BYTES, 4, False, 100 * LEAST_BYTES // 32),
        (2**40, 4, False, MOST_BYTES),
        (2**40, 4, True, MOST_BYTES_GPU),
    ],
)
def test_each_worker_gets_several_parts_within_bounds(total: int, workers: int, gpu: bool, expected: int) -> None:
    assert part_bytes_of(total, workers, gpu=gpu) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jsonl", "jsonl"), ("s3://b/a.b.csv", "csv"), ("a.parquet", "parquet"), ("a.json", None), ("csv", None)],
)
def test_the_ending_of_a_name_says_the_format(name: str, expected: Format | None) -> None:
    assert format_of(name) == expected
