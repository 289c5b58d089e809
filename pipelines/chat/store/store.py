"""A store that is open: passages found by meaning, by words, and by both."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipelines.chat.store.file import STORE, StoreContent, read_store
from pipelines.chat.store.passage import Passage

SIMILARITY_WEIGHT = 0.4
MOST_AT_ONCE = 64
"""Searches of one pass: (searches, rows) float32 scores are held meanwhile."""

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What to look for: by words where there is a text, by meaning where there is a vector, (dimension,)."""

    limit: int
    text: str | None = None
    vector: Float32 | None = None


class Passages:
    """All passages of a store, in memory, searched exactly: every row is scored."""

    def __init__(self, content: StoreContent) -> None:
        self._content = content
        self._lexical = content.lexical
        self._names = content.document_names

    def search(self, searches: Sequence[Search]) -> list[list[Passage]]:
        """Of each search the best passages, best first.

        All vectors are compared in one matrix product, which reads the store's vectors once for all of them.
        """
        by_vector = [search.vector for search in searches if search.vector is not None]
        cosines = iter(np.clip(np.stack(by_vector) @ self._content.vectors.T, -1, 1) if by_vector else ())
        return [self._best(search, None if search.vector is None else next(cosines)) for search in searches]

    def _best(self, search: Search, similarity: Float32 | None) -> list[Passage]:
        rows = len(self._content.vectors)
        lexical = None if search.text is None else self._lexical.scores(search.text, rows)
        combined = _combined(similarity, lexical)
        best = _largest(combined, search.limit)
        if similarity is None:
            best = best[combined[best] > 0]  # the rest has none of the words
        return [self._passage(row, combined, similarity, lexical) for row in best.tolist()]

    def _passage(self, row: int, combined: Float32, similarity: Float32 | None, lexical: Float32 | None) -> Passage:
        content = self._content
        start, end = content.text_starts[row : row + 2].tolist()
        return Passage(
            document=self._names[content.documents[row]],
            start=int(content.spans[row, 0]),
            end=int(content.spans[row, 1]),
            text=content.texts[start:end].tobytes().decode(),
            score=float(combined[row]),
            similarity=None if similarity is None else float(similarity[row]),
            lexical=None if lexical is None or lexical[row] == 0 else float(lexical[row]),
        )


def _combined(similarity: Float32 | None, lexical: Float32 | None) -> Float32:
    """(rows,): the weighted sum of the cosine and of BM25 as a share of the query's best; of one alone, that one.

    A convex combination of scores kept recall@5 above that of either alone, and the fusion of ranks did not, as Bruch,
    Gai and Ingber 2023 found too (https://arxiv.org/abs/2210.11934). The weight is of KorQuAD's dev set, on which
    .2 to .4 are alike; `benchmarks/LOG.md` has the figures.
    """
    if similarity is None or lexical is None:
        return _one_of(similarity, lexical)
    best = float(lexical.max(initial=0)) or 1.0  # where no row has any of the words
    combined: Float32 = (
        np.float32(SIMILARITY_WEIGHT) * similarity + np.float32((1 - SIMILARITY_WEIGHT) / best) * lexical
    )
    return combined


def _one_of(similarity: Float32 | None, lexical: Float32 | None) -> Float32:
    if similarity is not None:
        return similarity
    if lexical is not None:
        return lexical
    raise ValueError("a search needs a text or a vector")


def _largest(scores: Float32, limit: int) -> NDArray[np.intp]:
    """Rows of the largest scores, falling; of equal ones the first."""
    limit = min(limit, len(scores))
    if limit == 0:
        return np.empty(0, dtype=np.intp)
    smallest = np.partition(scores, len(scores) - limit)[len(scores) - limit]
    rows = np.flatnonzero(scores >= smallest)  # ties at the border included
    return rows[np.argsort(-scores[rows], kind="stable")][:limit]


class Store:
    """One open store, for one event loop. Everything is in memory: what happens to the folder later does not matter.

    name        the folder's
    dimension   of the vectors that it is searched by
    checkpoint  digest of the embedding checkpoint (`Manifest.digest`) it was built with
    """

    def __init__(self, name: str, checkpoint: str, content: StoreContent) -> None:
        self.name = name
        self.checkpoint = checkpoint
        self.dimension = content.vectors.shape[1]
        self._passages = Passages(content)
        self._waiting: list[tuple[Search, asyncio.Future[list[Passage]]]] = []
        self._run: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Read the store in `folder`. Raises StoreNotFound, StoreCorrupt, and OSError where it can't be read."""
        header, content = await asyncio.to_thread(read_store, folder / STORE)
        return cls(folder.name, header.checkpoint, content)

    async def search(self, text: str, vector: Float32, limit: int) -> list[Passage]:
        """By words and meaning, best first; `vector` is (dimension,), of unit length."""
        return await self._result(Search(limit, text, vector))

    async def matching(self, text: str, limit: int) -> list[Passage]:
        """By words alone; none where no passage has any of them."""
        return await self._result(Search(limit, text=text))

    async def nearest(self, vector: Float32, limit: int) -> list[Passage]:
        """By meaning alone."""
        return await self._result(Search(limit, vector=vector))

    async def _result(self, search: Search) -> list[Passage]:
        if search.vector is not None and search.vector.shape != (self.dimension,):  # not to fail those it would go with
            raise ValueError(f"a vector of shape {search.vector.shape} in a store of {self.dimension} dimensions")
        future: asyncio.Future[list[Passage]] = asyncio.get_running_loop().create_future()
        self._waiting.append((search, future))
        if self._run is None:
            self._run = asyncio.create_task(self._search_waiting())
        return await future

    async def _search_waiting(self) -> None:
        """One pass after the other, each of what came meanwhile, off the event loop."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                await _settle(self._passages, [one for one in batch if not one[1].done()])
        finally:
            self._run = None


async def _settle(passages: Passages, batch: Sequence[tuple[Search, asyncio.Future[list[Passage]]]]) -> None:
    try:
        results = await asyncio.to_thread(passages.search, [search for search, _ in batch])
    except Exception as error:
        for _, future in batch:
            if not future.done():
                future.set_exception(error)
        return
    for (_, future), found in zip(batch, results, strict=True):
        if not future.done():  # the caller may have gone
            future.set_result(found)
