"""A model replica's cache of the rows that it computed recently."""

import sys
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from deployments.batching.queue import Priority
from deployments.metrics.model import ModelMetrics
from pipelines.engines.model_stage import Outcome, Work
from pipelines.errors import MunjangError
from pipelines.text.token_batch import TokenBatch

BULK_SHARE = 0.25  # of all bytes
ENTRY_BYTES = 450  # of an entry besides its key and the numbers of its row: Python objects and dictionaries

Row = NDArray[Any]
Submit = Callable[[TokenBatch, Priority], Awaitable[Outcome]]


class RowCache:
    """Caches rows by the model's input for an item: its token ids and segment ids. Equal inputs have equal rows.

    A cache belongs to one replica and so to one checkpoint. The replica must refuse tokens of another checkpoint before
    they reach the cache. New rows replace the least recently used ones. Each priority writes to its own part of the
    cache, bulk items to `BULK_SHARE` of all bytes, and reads both parts. So a file finds its repeated texts, and does
    not displace the rows of interactive requests. Errors are not cached. Equal items that are computed at the same time
    are computed twice.
    """

    def __init__(self, max_bytes: int, metrics: ModelMetrics | None = None) -> None:
        shares = {Priority.INTERACTIVE: 1 - BULK_SHARE, Priority.BULK: BULK_SHARE}
        self._parts = {priority: _part(int(max_bytes * share)) for priority, share in shares.items()}
        self._metrics = metrics or ModelMetrics()
        self._hits = 0
        self._misses = 0

    def info(self) -> dict[str, int]:
        """For /info: the items found and not found since the start, and the bytes in use."""
        return {"hits": self._hits, "misses": self._misses, "bytes": sum(int(p.currsize) for p in self._parts.values())}

    async def complete(self, batch: TokenBatch, priority: Priority, submit: Submit) -> Outcome:
        """Return the outcome of the batch's items. Only items that are not cached are submitted."""
        keys = _keys(batch)
        known = {item: row for item, key in enumerate(keys) if (row := self._find(key, priority)) is not None}
        missing = np.array([item for item in range(len(keys)) if item not in known], dtype=np.intp)
        self._hits += len(known)
        self._misses += len(missing)
        self._metrics.looked_up(len(known), len(missing))
        if not len(missing):
            return Outcome(np.array(list(known.values())))

        outcome = await submit(batch.select(missing) if known else batch, priority)
        errors = {int(missing[item]): error for item, error in outcome.errors.items()}
        computed = dict(zip((item for item in missing.tolist() if item not in errors), outcome.rows, strict=True))
        self._keep({keys[item]: row for item, row in computed.items()}, priority)
        return _merged(known, computed, errors, outcome.work) if known else outcome

    def _find(self, key: bytes, priority: Priority) -> Row | None:
        entry = self._parts[priority].get(key) or self._parts[Priority(1 - priority)].get(key)
        return entry[0] if entry else None

    def _keep(self, rows: dict[bytes, Row], priority: Priority) -> None:
        part = self._parts[priority]
        for key, row in rows.items():
            size = sys.getsizeof(key) + row.nbytes + ENTRY_BYTES
            if size <= part.maxsize:
                part[key] = (row.copy(), size)  # a copy: a view would keep its whole batch in memory


def _part(max_bytes: int) -> LRUCache[bytes, tuple[Row, int]]:
    return LRUCache(max_bytes, getsizeof=lambda entry: entry[1])


def _keys(batch: TokenBatch) -> list[bytes]:
    ids, types, starts = batch.ids.tobytes(), batch.types.tobytes(), batch.starts.tolist()
    width = batch.ids.itemsize
    return [ids[width * start : width * end] + types[start:end] for start, end in pairwise(starts)]


def _merged(known: dict[int, Row], computed: dict[int, Row], errors: dict[int, MunjangError], work: Work) -> Outcome:
    rows = known | computed
    return Outcome(np.array([rows[item] for item in sorted(rows)]), errors, work)
