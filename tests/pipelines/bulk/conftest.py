"""An object store."""

from collections.abc import Iterator

import pytest

from tests.s3 import Bucket, serving


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, which `s3://bucket` names in this process."""
    with serving() as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        yield bucket
