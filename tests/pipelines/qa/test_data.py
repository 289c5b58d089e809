import copy
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import BadRow
from pipelines.qa.data import KORQUAD, Example, example, read_squad
from pipelines.qa.nodes import Node
from pipelines.text.normalization import nfc
from tests.pipelines.qa.rows import COLOURS, article, town, write_korquad, write_squad

Spoil = Callable[[dict[str, Any]], object]


def test_answers_are_stretches_of_their_context(tmp_path: Path) -> None:
    articles = read_squad(write_korquad(tmp_path, [article(0), article(1)]) / KORQUAD)
    assert [[example.answer for example in examples] for examples in articles] == [[COLOURS[0]], [COLOURS[1]]]


def test_an_answer_that_stands_elsewhere_is_refused(tmp_path: Path) -> None:
    wrong = article(0)
    wrong["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] += 1
    with pytest.raises(BadRow, match="q0"):
        read_squad(write_squad(tmp_path / "wrong.json", [wrong]))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"KorQuAD_v1\.0_dev.*MUNJANG_DATA"):
        read_squad(tmp_path / KORQUAD)


def test_questions_that_are_marked_impossible_have_the_empty_answer(tmp_path: Path) -> None:
    [[museum, school]] = read_squad(write_squad(tmp_path / "v2.json", [town(1)]))
    assert (museum.answerable, museum.answer) == (True, "Paris")
    assert (school.answerable, school.answer) == (False, "")


def test_of_several_answers_the_first_counts_and_the_others_are_kept() -> None:
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
def test_what_is_wrong_is_reported_with_its_file_and_place(spoil: Spoil, place: str, why: str, tmp_path: Path) -> None:
    paragraph = copy.deepcopy(article(0)["paragraphs"][0])
    spoil(paragraph)
    path = write_squad(tmp_path / "bad.json", [article(1), {"paragraphs": [paragraph]}])
    with pytest.raises(BadRow) as caught:
        read_squad(path)
    assert caught.value.where == f"{path}, data[1]{place}"
    assert why in caught.value.why


@pytest.mark.parametrize(("content", "where"), [("[]", ""), ('{"data": [\n', ", line 2"), ('{"version": 1}', "")])
def test_files_of_another_kind_are_refused(content: str, where: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(BadRow) as caught:
        read_squad(tmp_path / "bad.json")
    assert caught.value.where == f"{tmp_path / 'bad.json'}{where}"


def test_white_space_around_an_answer_is_no_part_of_it() -> None:
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
    """Wherever the character is counted: in the context as it is, composed, or decomposed and then composed again."""
    parts = [unicodedata.normalize(forms[0], part) for part in (before + ".", text + ".", after)]
    answer = unicodedata.normalize(forms[1], text)
    start = len(unicodedata.normalize("NFC", parts[0])) if forms[2] == "NFC" else len(parts[0])
    entry = {"question": "?", "answers": [{"text": answer, "answer_start": start}]}
    made = example(Node("", entry), "".join(parts))
    assert nfc(made.answer) == nfc(text).strip()
