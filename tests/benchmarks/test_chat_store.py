import json
import lzma
from pathlib import Path

import pytest

from benchmarks.chat_store import KORQUAD, REVIEWS, documents_of
from pipelines.chat.store.chunks import chunks_of


@pytest.fixture
def data(tmp_path: Path) -> Path:
    paragraphs = [{"context": f"{number}번 문단이다. " * 30} for number in range(2)]
    for name in (KORQUAD, REVIEWS):
        (tmp_path / name).parent.mkdir(parents=True)
    articles = json.dumps({"data": [{"title": "제목", "paragraphs": paragraphs}]})
    (tmp_path / KORQUAD).write_bytes(lzma.compress(articles.encode()))
    rows = ["id\tmovie_id\trating\tdocument", *(f"1\t2\t3\t{number}번째 감상평입니다." for number in range(1500))]
    (tmp_path / REVIEWS).write_bytes(lzma.compress("\n".join(rows).encode()))
    return tmp_path


@pytest.mark.parametrize("count", [1, 3, 40])
def test_documents_give_the_requested_number_of_distinct_chunks(data: Path, count: int) -> None:
    texts = {chunk.text for document in documents_of(data, count) for chunk in chunks_of(document)}
    assert len(texts) == count


def test_too_little_text_is_an_error(data: Path) -> None:
    with pytest.raises(SystemExit, match="no more than"):
        list(documents_of(data, 100_000))
