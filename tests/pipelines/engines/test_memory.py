import sys

import psutil
import pytest

from pipelines.engines.memory import return_memory

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps free memory that can be returned")
def test_free_memory_between_used_pieces_returns_to_the_system() -> None:
    process = psutil.Process()
    pieces = [bytearray(2048) for _ in range(50_000)]
    kept = pieces[::500]  # so that the memory between them is not at the end of the heap, which glibc returns by itself
    del pieces
    before = process.memory_info().rss
    return_memory()
    assert process.memory_info().rss < before - 50 * MIB
    assert len(kept) == 100
