import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.chat.store.chunks import Chunk
from pipelines.chat.store.file import StoreContent
from pipelines.chat.store.passage import Passage
from pipelines.chat.store.store import SIMILARITY_WEIGHT, Passages, Search, Store
from pipelines.errors import StoreNotFound
from tests.pipelines.chat.store.stores import HashEmbedder, make_store

pytestmark = pytest.mark.anyio

TEXTS = ("고양이는 창가에서 잔다.", "비가 와서 우산을 썼다.", "고양이와 강아지가 논다.", "바다에 배가 떠 있다.")
EMBEDDER = HashEmbedder()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_store(tmp_path / "notes", *TEXTS)


def documents(passages: list[Passage]) -> list[str]:
    return [passage.document for passage in passages]


async def test_a_store_has_its_name_dimension_and_checkpoint(folder: Path) -> None:
    store = await Store.open(folder)
    assert (store.name, store.dimension, store.checkpoint) == ("notes", 8, EMBEDDER.checkpoint)


async def test_a_passage_has_the_right_place_in_its_document(folder: Path) -> None:
    (passage,) = await (await Store.open(folder)).nearest(EMBEDDER.one(TEXTS[1]), 1)
    assert (passage.document, passage.text) == ("1.txt", TEXTS[1])
    assert TEXTS[1][passage.start : passage.end] == passage.text
    assert passage.similarity == pytest.approx(1)
    assert passage.lexical is None


async def test_a_search_by_words_finds_only_passages_that_contain_them(folder: Path) -> None:
    store = await Store.open(folder)
    found = await store.matching("고양이를 보았니?", 4)
    assert sorted(documents(found)) == ["0.txt", "2.txt"]
    assert all(passage.lexical == passage.score > 0 and passage.similarity is None for passage in found)
    assert await store.matching("전화기", 4) == []


async def test_the_combined_score_is_the_weighted_sum(folder: Path) -> None:
    store = await Store.open(folder)
    vector = EMBEDDER.one("아무 말")
    found = await store.search("고양이", vector, 4)
    best = max(passage.lexical or 0 for passage in found)
    for passage in found:
        cosine = float(EMBEDDER.one(passage.text) @ vector)
        assert passage.similarity == pytest.approx(cosine, abs=1e-6)
        share = (passage.lexical or 0) / best
        assert passage.score == pytest.approx(SIMILARITY_WEIGHT * cosine + (1 - SIMILARITY_WEIGHT) * share, abs=1e-6)
    assert [passage.score for passage in found] == sorted((passage.score for passage in found), reverse=True)


async def test_a_question_without_known_words_finds_passages_by_meaning(folder: Path) -> None:
    found = await (await Store.open(folder)).search("xyz", EMBEDDER.one(TEXTS[3]), 1)
    assert documents(found) == ["3.txt"]
    assert found[0].lexical is None


async def test_concurrent_searches_find_what_single_searches_find(folder: Path) -> None:
    store = await Store.open(folder)
    questions = [(f"{text} {number}", EMBEDDER.one(f"{number}")) for number in range(25) for text in TEXTS]
    alone = [await store.search(text, vector, 3) for text, vector in questions]
    together = await asyncio.gather(*(store.search(text, vector, 3) for text, vector in questions))
    for left, right in zip(alone, together, strict=True):
        assert documents(left) == documents(right)
        assert [passage.score for passage in left] == pytest.approx([passage.score for passage in right], abs=1e-6)


async def test_a_cancelled_search_does_not_cancel_others(folder: Path) -> None:
    store = await Store.open(folder)
    leaving = asyncio.create_task(store.matching("고양이", 1))
    staying = asyncio.create_task(store.matching("우산", 1))
    await asyncio.sleep(0)
    leaving.cancel()
    assert documents(await staying) == ["1.txt"]
    assert documents(await store.matching("바다", 1)) == ["3.txt"]


async def test_a_vector_of_another_size_fails_only_its_own_search(folder: Path) -> None:
    store = await Store.open(folder)
    results = await asyncio.gather(
        store.nearest(np.ones(9, np.float32), 1), store.nearest(EMBEDDER.one(TEXTS[0]), 1), return_exceptions=True
    )
    assert isinstance(results[0], ValueError)
    assert not isinstance(results[1], BaseException)
    assert documents(results[1]) == ["0.txt"]


async def test_a_failed_pass_fails_its_own_searches_but_not_later_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await Store.open(folder)
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.chat.store.lexical.LexicalIndex.scores", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await store.matching("고양이", 1)
    assert len(await store.matching("고양이", 1)) == 1


async def test_an_open_store_works_after_its_folder_is_removed(folder: Path) -> None:
    store = await Store.open(folder)
    shutil.rmtree(folder)
    assert documents(await store.matching("우산", 1)) == ["1.txt"]
    with pytest.raises(StoreNotFound):
        await Store.open(folder)


@given(similarities=st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=1, max_size=9), limit=st.integers(0, 12))
def test_the_best_passages_come_first_and_equal_ones_in_row_order(similarities: list[float], limit: int) -> None:
    chunks = [Chunk("a", row, row + 1, "가") for row in range(len(similarities))]
    passages = Passages(StoreContent.of(chunks, np.array(similarities, np.float32)[:, None]))
    (found,) = passages.search([Search(limit, vector=np.ones(1, np.float32))])
    expected = sorted(range(len(similarities)), key=lambda row: -similarities[row])[:limit]
    assert [passage.start for passage in found] == expected
