"""A store in memory for tests of code that uses a store: few passages, compared one by one."""

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.chat.store.passage import Passage
from pipelines.errors import StoreNotFound


@dataclass
class MemoryStore:
    """`vectors` are (passages, dimensions) of unit length; `checkpoint` is the digest of what embedded them."""

    name: str
    checkpoint: str
    passages: list[Passage]
    vectors: NDArray[np.float32]

    async def search(self, text: str, vector: NDArray[np.float32], limit: int) -> list[Passage]:
        cosines = self.vectors @ vector
        found = [
            replace(passage, score=float(cosine), similarity=float(cosine))
            for passage, cosine in zip(self.passages, cosines, strict=True)
        ]
        return sorted(found, key=lambda passage: -passage.score)[:limit]

    async def matching(self, text: str, limit: int) -> list[Passage]:
        words = set(re.findall(r"\w\w", text))
        counts = [sum(word in passage.text for word in words) for passage in self.passages]
        found = [
            replace(passage, score=float(count), lexical=float(count))
            for passage, count in zip(self.passages, counts, strict=True)
            if count
        ]
        return sorted(found, key=lambda passage: -passage.score)[:limit]


@dataclass
class MemoryStores:
    """Stores by name."""

    stores: dict[str, MemoryStore]

    async def get(self, db_path: str) -> MemoryStore:
        try:
            return self.stores[db_path.removesuffix("/")]
        except KeyError:
            raise StoreNotFound from None
