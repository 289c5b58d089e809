"""An open store: find passages by meaning, by words, or by both."""

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
"""Most searches in one pass, which holds (searches, rows) float32 scores in memory."""

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """A query: by words where `text` is given, by meaning where `vector`, (dimension,), is given."""

    limit: int
    text: str | None = None
    vector: Float32 | None = None


class Passages:
    """All passages of a store, in memory. A search is exact: it scores every row."""

    def __init__(self, content: StoreContent) -> None:
        self._content = content
        self._lexical = content.lexical
        self._names = content.document_names

    def search(self, searches: Sequence[Search]) -> list[list[Passage]]:
        """Return the best passages of each search, best first.

        One matrix product compares the vectors of all searches, and reads the store's vectors only once.
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
            best = best[combined[best] > 0]  # the others contain none of the words
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
    """(rows,): the weighted sum of the cosine and of BM25 divided by its maximum; where one is missing, the other.

    With this sum recall@5 is above that of either score alone; with a fusion of ranks it is not, as Bruch, Gai and
    Ingber 2023 also found (https://arxiv.org/abs/2210.11934). The weight was chosen on KorQuAD's dev set, where .2 to
    .4 give about the same recall; `benchmarks/LOG.md` has the figures.
    """
    if similarity is None or lexical is None:
        return _only_score(similarity, lexical)
    best = float(lexical.max(initial=0)) or 1.0  # 1 where no row contains any of the words
    combined: Float32 = (
        np.float32(SIMILARITY_WEIGHT) * similarity + np.float32((1 - SIMILARITY_WEIGHT) / best) * lexical
    )
    return combined


def _only_score(similarity: Float32 | None, lexical: Float32 | None) -> Float32:
    if similarity is not None:
        return similarity
    if lexical is not None:
        return lexical
    raise ValueError("a search needs a text or a vector")


def _largest(scores: Float32, limit: int) -> NDArray[np.intp]:
    """Rows of the largest scores, in falling order; of equal scores, the first rows."""
    limit = min(limit, len(scores))
    if limit == 0:
        return np.empty(0, dtype=np.intp)
    smallest = np.partition(scores, len(scores) - limit)[len(scores) - limit]
    rows = np.flatnonzero(scores >= smallest)  # includes all rows with the smallest score
    return rows[np.argsort(-scores[rows], kind="stable")][:limit]


class Store:
    """One open store, for one event loop. It is held in memory, so later changes of the folder have no effect on it.

    name        name of the folder
    dimension   dimension of the vectors
    checkpoint  digest (`Manifest.digest`) of the checkpoint that embedded the passages
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
        """Find passages by words and meaning, best first. `vector` is (dimension,), of unit length."""
        return await self._result(Search(limit, text, vector))

    async def matching(self, text: str, limit: int) -> list[Passage]:
        """Find passages by words alone, best first; only passages that contain some of the words."""
        return await self._result(Search(limit, text=text))

    async def nearest(self, vector: Float32, limit: int) -> list[Passage]:
        """Find passages by meaning alone, best first. `vector` is (dimension,), of unit length."""
        return await self._result(Search(limit, vector=vector))

    async def _result(self, search: Search) -> list[Passage]:
        # A wrong shape must not fail the other searches of the same pass.
        if search.vector is not None and search.vector.shape != (self.dimension,):
            raise ValueError(f"a vector of shape {search.vector.shape} in a store of {self.dimension} dimensions")
        future: asyncio.Future[list[Passage]] = asyncio.get_running_loop().create_future()
        self._waiting.append((search, future))
        if self._run is None:
            self._run = asyncio.create_task(self._search_waiting())
        return await future

    async def _search_waiting(self) -> None:
        """Run passes in a thread, one after the other; each takes the searches that arrived during the one before."""
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
        if not future.done():  # the caller may have been cancelled
            future.set_result(found)
