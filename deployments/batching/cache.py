"""A model replica's memory of rows it computed lately."""

import sys
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from deployments.batching.queue import Lane
from pipelines.engines.model_stage import Outcome
from pipelines.errors import MunjangError
from pipelines.text.token_batch import TokenBatch

BULK_SHARE = 0.25
ENTRY_BYTES = 450  # of an entry besides its key and the numbers of its row: objects, dictionaries

Row = NDArray[Any]
Submit = Callable[[TokenBatch, Lane], Awaitable[Outcome]]


class RowCache:
    """Rows by what the model reads of an item: its token ids and segment ids. Where these are equal, so are the rows.

    A cache belongs to a replica and so to one checkpoint; tokens of another one must be refused before they come
    here. The rows used least recently make room for new ones. Each lane writes into a part of its own, bulk into
    `BULK_SHARE` of all bytes, and reads both: a file finds its repeated texts, and what interactive requests have
    there stays. Errors are not kept. Equal items that are computed at the same time are computed twice.
    """

    def __init__(self, max_bytes: int) -> None:
        shares = {Lane.INTERACTIVE: 1 - BULK_SHARE, Lane.BULK: BULK_SHARE}
        self._parts = {lane: _part(int(max_bytes * share)) for lane, share in shares.items()}
        self._hits = 0
        self._misses = 0

    def info(self) -> dict[str, int]:
        """For /info: items found and not found since the start, and the memory in use."""
        return {"hits": self._hits, "misses": self._misses, "bytes": sum(int(p.currsize) for p in self._parts.values())}

    async def complete(self, batch: TokenBatch, lane: Lane, submit: Submit) -> Outcome:
        """What became of the batch's items; only those not known here are submitted."""
        keys = _keys(batch)
        known = {item: row for item, key in enumerate(keys) if (row := self._find(key, lane)) is not None}
        missing = np.array([item for item in range(len(keys)) if item not in known], dtype=np.intp)
        self._hits += len(known)
        self._misses += len(missing)
        if not len(missing):
            return Outcome(np.array(list(known.values())))

        outcome = await submit(batch.select(missing) if known else batch, lane)
        errors = {int(missing[item]): error for item, error in outcome.errors.items()}
        computed = dict(zip((item for item in missing.tolist() if item not in errors), outcome.rows, strict=True))
        self._keep({keys[item]: row for item, row in computed.items()}, lane)
        return _merged(known, computed, errors) if known else outcome

    def _find(self, key: bytes, lane: Lane) -> Row | None:
        entry = self._parts[lane].get(key) or self._parts[Lane(1 - lane)].get(key)
        return entry[0] if entry else None

    def _keep(self, rows: dict[bytes, Row], lane: Lane) -> None:
        part = self._parts[lane]
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


def _merged(known: dict[int, Row], computed: dict[int, Row], errors: dict[int, MunjangError]) -> Outcome:
    rows = known | computed
    return Outcome(np.array([rows[item] for item in sorted(rows)]), errors)
