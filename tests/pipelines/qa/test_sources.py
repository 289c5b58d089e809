import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.errors import BadRow, DataNotFound
from pipelines.qa.data import read_squad
from pipelines.qa.sources import read_articles, together, without_contexts
from tests.pipelines.qa.rows import as_row, town, write_squad

TOWNS = [town(number) for number in range(4)]
SPLIT = "train"


def write_rows(path: Path, *rows: object) -> str:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    return write_squad(tmp_path / "squad.json", TOWNS)


@pytest.mark.parametrize("name", ["v2.json", "v2.json.xz"])
def test_squad_files_are_read_packed_or_not(name: str, squad: Path, tmp_path: Path) -> None:
    assert read_articles(str(write_squad(tmp_path / name, TOWNS)), SPLIT) == read_squad(squad)


@pytest.mark.parametrize(
    ("part", "numbers"),
    [("[:3]", [0, 1, 2]), ("[3:]", [3]), ("[-1:]", [3]), ("[1:-1]", [1, 2]), ("[:]", [0, 1, 2, 3]), ("[::2]", [0, 2])],
)
def test_a_source_may_be_some_of_the_articles(part: str, numbers: list[int], squad: Path) -> None:
    articles = read_squad(squad)
    assert read_articles(f"{squad}{part}", SPLIT) == [articles[number] for number in numbers]


@pytest.mark.parametrize(("titles", "sizes"), [("aaaabbbb", [4, 4]), ("abababab", [4, 4]), (8 * [None], [2, 2, 2, 2])])
def test_rows_of_a_title_or_else_of_a_context_are_an_article(
    titles: Sequence[str | None], sizes: list[int], squad: Path, tmp_path: Path
) -> None:
    rows = [as_row(example) for example in together(read_squad(squad))]
    titled = [{**row, "title": title} for row, title in zip(rows, titles, strict=True)]
    articles = read_articles(write_rows(tmp_path / "rows.jsonl", *titled), SPLIT)
    assert [len(article) for article in articles] == sizes


def test_rows_say_the_same_as_files(squad: Path, tmp_path: Path) -> None:
    rows = [as_row(example) for example in together(read_squad(squad))]
    as_objects = [{**row, "answers": _objects(row["answers"])} for row in rows]
    for number, form in enumerate((rows, as_objects)):
        read = read_articles(write_rows(tmp_path / f"{number}.jsonl", *form), SPLIT)
        assert together(read) == together(read_squad(squad))


def _objects(answers: dict[str, list[object]]) -> list[dict[str, object]]:
    pairs = zip(answers["text"], answers["answer_start"], strict=True)
    return [{"text": text, "answer_start": start} for text, start in pairs]


@pytest.mark.parametrize(
    ("answers", "place", "why"),
    [
        (None, "", "has no answers"),
        ({"text": ["the"]}, ", answers", "has no answer_start"),
        ({"text": ["the"], "answer_start": [1]}, ", answers[0]", "not at character 1"),
        ({"text": ["the"], "answer_start": [3.5]}, ", answers[0]", "not a whole number"),
        ({"text": ["the", "the"], "answer_start": [0]}, ", answers", "1 places for 2 texts"),
        ("the", "", "answers is not a list"),
    ],
)
def test_a_bad_row_is_reported_with_its_line(answers: object, place: str, why: str, tmp_path: Path) -> None:
    good = {"question": "which?", "context": "the one", "answers": {"text": ["one"], "answer_start": [4]}}
    source = write_rows(tmp_path / "rows.jsonl", good, {**good, "answers": answers})
    with pytest.raises(BadRow) as caught:
        read_articles(source, SPLIT)
    assert caught.value.where == f"{source}, line 2{place}"
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("source", "why"),
    [("nowhere.json", "there is no such file"), ("empty.json", "holds no question"), ("squad.json[9:]", "no question")],
)
def test_sources_without_questions_are_refused(source: str, why: str, squad: Path, tmp_path: Path) -> None:
    write_squad(tmp_path / "empty.json", [{"paragraphs": []}])
    with pytest.raises(DataNotFound, match=why):
        read_articles(str(tmp_path / source), SPLIT)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "squad.json.xz").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(BadRow, match="can't be read as UTF-8 text"):
        read_articles(str(tmp_path / "squad.json.xz"), SPLIT)


def test_a_data_set_is_read_by_name_and_split(squad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    examples = together(read_squad(squad))
    folder = tmp_path / "towns"
    folder.mkdir()
    for split, part in (("train", examples[:6]), ("validation", examples[6:])):
        write_rows(folder / f"{split}.jsonl", *map(as_row, part))
    assert together(read_articles(str(folder), "train")) == examples[:6]
    assert together(read_articles(str(folder), "validation")) == examples[6:]
    assert together(read_articles(f"{folder}:default:validation", "train")) == examples[6:]
    assert together(read_articles(f"{folder}:default:train[1:]", "train")) == examples[2:6]


def test_examples_on_the_contexts_of_others_are_left_out(squad: Path) -> None:
    articles = read_squad(squad)
    assert without_contexts(together(articles), articles[1][:1]) == together([articles[0], *articles[2:]])
