import copy
import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import BadRow, DataNotFound
from pipelines.qa.data import (
    KORQUAD,
    Example,
    Node,
    all_examples,
    example,
    read_articles,
    read_squad,
    without_contexts_of,
)
from pipelines.text.normalization import nfc
from tests.pipelines.qa.rows import COLOURS, article, as_row, town, write_korquad, write_squad

ROOT = Node("a.json", {"data": [{"name": "one", "size": 3, "open": True}, {"name": None, "size": -1}, 7]})


def test_values_are_read_by_key() -> None:
    first = ROOT.items("data")[0]
    assert (first.text("name"), first.number("size"), first.flag("open")) == ("one", 3, True)


def test_a_missing_or_null_value_has_its_default() -> None:
    first, second, _ = ROOT.items("data")
    assert (first.text("colour", "red"), second.text("name", "two"), second.flag("open")) == ("red", "two", False)


@pytest.mark.parametrize(
    ("step", "where", "why"),
    [
        (lambda: ROOT.items("rows"), "a.json", "has no rows"),
        (lambda: ROOT.items("data")[1].text("name"), "a.json, data[1]", "has no name"),
        (lambda: ROOT.items("data")[0].number("name"), "a.json, data[0]", "name is not a whole number from 0"),
        (lambda: ROOT.items("data")[1].number("size"), "a.json, data[1]", "size is not a whole number from 0"),
        (lambda: ROOT.items("data")[0].number("open"), "a.json, data[0]", "open is not a whole number from 0"),
        (lambda: ROOT.items("data")[0].items("name"), "a.json, data[0]", "name is not a list"),
        (lambda: ROOT.items("data")[2].flag("open"), "a.json, data[2]", "not a JSON object"),
    ],
)
def test_the_error_for_a_bad_value_names_its_place_and_the_fault(step: object, where: str, why: str) -> None:
    with pytest.raises(BadRow) as caught:
        step()  # type: ignore[operator]
    assert (caught.value.where, caught.value.why) == (where, why)


Spoil = Callable[[dict[str, Any]], object]


def test_answers_are_spans_of_their_context(tmp_path: Path) -> None:
    articles = read_squad(write_korquad(tmp_path, [article(0), article(1)]) / KORQUAD)
    assert [[example.answer for example in examples] for examples in articles] == [[COLOURS[0]], [COLOURS[1]]]


def test_an_answer_at_another_position_is_refused(tmp_path: Path) -> None:
    wrong = article(0)
    wrong["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] += 1
    with pytest.raises(BadRow, match="q0"):
        read_squad(write_squad(tmp_path / "wrong.json", [wrong]))


def test_the_error_for_a_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"KorQuAD_v1\.0_dev.*MUNJANG_DATA"):
        read_squad(tmp_path / KORQUAD)


def test_questions_that_are_marked_impossible_have_the_empty_answer(tmp_path: Path) -> None:
    [[museum, school]] = read_squad(write_squad(tmp_path / "v2.json", [town(1)]))
    assert (museum.answerable, museum.answer) == (True, "Paris")
    assert (school.answerable, school.answer) == (False, "")


def test_the_first_of_several_answers_is_the_answer_and_the_others_are_accepted() -> None:
    entry = {"question": "Who?", "answers": [{"text": text, "answer_start": 0} for text in ("A B", "A", "A B", "A")]}
    assert example(Node("", entry), "A B C") == Example("", "Who?", "A B C", 0, 3, ("A",))


def answers_at(entry: dict[str, Any], start: object) -> None:
    entry["qas"][0]["answers"] = [{"text": "기와", "answer_start": start}]


@pytest.mark.parametrize(
    ("spoil", "place", "why"),
    [
        (lambda one: one.pop("context"), ".paragraphs[0]", "has no context"),
        (lambda one: one.pop("qas"), ".paragraphs[0]", "has no qas"),
        (lambda one: one.update(qas={}), ".paragraphs[0]", "qas is not a list"),
        (lambda one: one.update(qas=["why?"]), ".paragraphs[0].qas[0]", "not a JSON object"),
        (lambda one: one["qas"][0].update(question=7), ".paragraphs[0].qas[0]", "question is not a text"),
        (lambda one: one["qas"][0].update(answers=[]), ".paragraphs[0].qas[0]", "question q0 has no answer"),
        (lambda one: one["qas"][0].update(is_impossible=True), ".paragraphs[0].qas[0]", "marked impossible and has an"),
        (lambda one: one["qas"][0].update(is_impossible="no"), ".paragraphs[0].qas[0]", "is not true or false"),
        (lambda one: answers_at(one, "3"), ".paragraphs[0].qas[0].answers[0]", "answer_start is not a whole number"),
        (lambda one: answers_at(one, True), ".paragraphs[0].qas[0].answers[0]", "answer_start is not a whole number"),
        (lambda one: answers_at(one, -3), ".paragraphs[0].qas[0].answers[0]", "answer_start is not a whole number"),
        (lambda one: answers_at(one, 1), ".paragraphs[0].qas[0].answers[0]", "of question q0 is not at character 1"),
        (lambda one: answers_at(one, 999), ".paragraphs[0].qas[0].answers[0]", "is not at character 999"),
    ],
)
def test_the_error_for_a_fault_names_its_file_and_place(spoil: Spoil, place: str, why: str, tmp_path: Path) -> None:
    paragraph = copy.deepcopy(article(0)["paragraphs"][0])
    spoil(paragraph)
    path = write_squad(tmp_path / "bad.json", [article(1), {"paragraphs": [paragraph]}])
    with pytest.raises(BadRow) as caught:
        read_squad(path)
    assert caught.value.where == f"{path}, data[1]{place}"
    assert why in caught.value.why


@pytest.mark.parametrize(("content", "where"), [("[]", ""), ('{"data": [\n', ", line 2"), ('{"version": 1}', "")])
def test_files_in_another_format_are_refused(content: str, where: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(BadRow) as caught:
        read_squad(tmp_path / "bad.json")
    assert caught.value.where == f"{tmp_path / 'bad.json'}{where}"


def test_white_space_around_an_answer_is_removed() -> None:
    entry = {"question": "?", "answers": [{"text": " is \n", "answer_start": 2}]}
    assert example(Node("", entry), "It is \nit.").answer == "is"
    with pytest.raises(BadRow, match="blank"):
        example(Node("", {"question": "?", "answers": [{"text": " ", "answer_start": 2}]}), "It is")


FORMS = st.sampled_from(["NFC", "NFD"])
TEXTS = st.lists(st.sampled_from(["각", "한", "é", "e\u0301", "ab", " "]), min_size=1).map("".join)


@given(before=TEXTS, text=TEXTS.filter(str.strip), after=TEXTS, forms=st.tuples(FORMS, FORMS, FORMS))
def test_an_answer_in_another_normal_form_is_found(
    before: str, text: str, after: str, forms: tuple[Any, Any, Any]
) -> None:
    """The position may count characters of the context in its own normal form, or of its composed form."""
    parts = [unicodedata.normalize(forms[0], part) for part in (before + ".", text + ".", after)]
    answer = unicodedata.normalize(forms[1], text)
    start = len(unicodedata.normalize("NFC", parts[0])) if forms[2] == "NFC" else len(parts[0])
    entry = {"question": "?", "answers": [{"text": answer, "answer_start": start}]}
    made = example(Node("", entry), "".join(parts))
    assert nfc(made.answer) == nfc(text).strip()


TOWNS = [town(number) for number in range(4)]
SPLIT = "train"


def write_rows(path: Path, *rows: object) -> str:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    return write_squad(tmp_path / "squad.json", TOWNS)


@pytest.mark.parametrize("name", ["v2.json", "v2.json.xz"])
def test_squad_files_are_read_compressed_or_not(name: str, squad: Path, tmp_path: Path) -> None:
    assert read_articles(str(write_squad(tmp_path / name, TOWNS)), SPLIT) == read_squad(squad)


@pytest.mark.parametrize(
    ("part", "numbers"),
    [("[:3]", [0, 1, 2]), ("[3:]", [3]), ("[-1:]", [3]), ("[1:-1]", [1, 2]), ("[:]", [0, 1, 2, 3]), ("[::2]", [0, 2])],
)
def test_a_source_can_be_a_slice_of_the_articles(part: str, numbers: list[int], squad: Path) -> None:
    articles = read_squad(squad)
    assert read_articles(f"{squad}{part}", SPLIT) == [articles[number] for number in numbers]


@pytest.mark.parametrize(("titles", "sizes"), [("aaaabbbb", [4, 4]), ("abababab", [4, 4]), (8 * [None], [2, 2, 2, 2])])
def test_rows_with_the_same_title_or_else_context_form_an_article(
    titles: Sequence[str | None], sizes: list[int], squad: Path, tmp_path: Path
) -> None:
    rows = [as_row(example) for example in all_examples(read_squad(squad))]
    titled = [{**row, "title": title} for row, title in zip(rows, titles, strict=True)]
    articles = read_articles(write_rows(tmp_path / "rows.jsonl", *titled), SPLIT)
    assert [len(article) for article in articles] == sizes


def test_rows_give_the_same_examples_as_squad_files(squad: Path, tmp_path: Path) -> None:
    rows = [as_row(example) for example in all_examples(read_squad(squad))]
    as_objects = [{**row, "answers": _objects(row["answers"])} for row in rows]
    for number, form in enumerate((rows, as_objects)):
        read = read_articles(write_rows(tmp_path / f"{number}.jsonl", *form), SPLIT)
        assert all_examples(read) == all_examples(read_squad(squad))


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
        ({"text": ["the", "the"], "answer_start": [0]}, ", answers", "1 values of answer_start for 2 texts"),
        ("the", "", "answers is not a list"),
    ],
)
def test_the_error_for_a_bad_row_names_its_line(answers: object, place: str, why: str, tmp_path: Path) -> None:
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


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "squad.json.xz").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(BadRow, match="can't be read as UTF-8 text"):
        read_articles(str(tmp_path / "squad.json.xz"), SPLIT)


def test_a_data_set_is_read_by_name_and_split(squad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    examples = all_examples(read_squad(squad))
    folder = tmp_path / "towns"
    folder.mkdir()
    for split, part in (("train", examples[:6]), ("validation", examples[6:])):
        write_rows(folder / f"{split}.jsonl", *map(as_row, part))
    assert all_examples(read_articles(str(folder), "train")) == examples[:6]
    assert all_examples(read_articles(str(folder), "validation")) == examples[6:]
    assert all_examples(read_articles(f"{folder}:default:validation", "train")) == examples[6:]
    assert all_examples(read_articles(f"{folder}:default:train[1:]", "train")) == examples[2:6]


def test_examples_with_the_context_of_others_are_left_out(squad: Path) -> None:
    articles = read_squad(squad)
    assert without_contexts_of(all_examples(articles), articles[1][:1]) == all_examples([articles[0], *articles[2:]])
