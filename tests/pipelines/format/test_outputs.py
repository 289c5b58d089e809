import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.outputs import outputs_of, positive_output

ACCEPTABLE_FIRST = {"id2label": {"0": "acceptable", "1": "unacceptable"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, **config: Any) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **config}), encoding="utf-8")
    return folder


def named(first: object, second: object) -> dict[str, Any]:
    return {"id2label": {"0": first, "1": second}}


@pytest.mark.parametrize(
    "config",
    [{}, {"num_labels": 1}, {"num_labels": 3}, {"id2label": {}}, {"id2label": {"0": "a"}}, named("a", "b")],
)
def test_the_labels_are_those_that_transformers_reads(folder: Path, config: dict[str, Any]) -> None:
    theirs = AutoConfig.from_pretrained(write(folder, **config)).id2label
    assert dict(enumerate(outputs_of(folder).labels)) == theirs


def test_labels_that_only_label2id_names_are_used(folder: Path) -> None:
    for placeholders in ({}, named("LABEL_0", "LABEL_1")):
        write(folder, label2id={"acceptable": 0, "unacceptable": 1}, **placeholders)
        assert outputs_of(folder).labels == ("acceptable", "unacceptable")
        assert positive_output(folder) == 0


@pytest.mark.parametrize(
    ("negative", "positive"),
    [
        ("unacceptable", "acceptable"),
        ("UNACCEPTABLE", "Acceptable"),
        ("not_acceptable", "acceptable"),
        ("ungrammatical", "grammatical"),
        ("Incorrect", "Correct"),
        ("ill-formed", "well-formed"),
        ("LABEL_0", "LABEL_1"),
        ("0", "1"),
        (0, 1),
        ("false", "true"),
        (False, True),
        ("비문", "정문"),
        ("비문법적", "문법적"),
    ],
)
def test_usual_spellings_say_which_output_means_acceptable(folder: Path, negative: object, positive: object) -> None:
    assert positive_output(write(folder, **named(negative, positive))) == 1
    assert positive_output(write(folder, **named(positive, negative))) == 0


def test_without_labels_the_second_output_means_acceptable(folder: Path) -> None:
    assert positive_output(write(folder)) == positive_output(write(folder, num_labels=2)) == 1


@pytest.mark.parametrize(
    "config",
    [
        named("NEGATIVE", "POSITIVE"),
        named("not_entailment", "entailment"),
        named("acceptable", "acceptable"),
        named("acceptable", "grammatical"),
        named("acceptable", "other"),
        named("", "acceptable"),
        {"id2label": {"1": "acceptable", "2": "unacceptable"}},  # there is no output 2
        {**ACCEPTABLE_FIRST, "label2id": {"unacceptable": 0, "acceptable": 1}},
    ],
)
def test_a_meaning_that_is_not_certain_is_asked_for_with_the_labels(folder: Path, config: dict[str, Any]) -> None:
    label = str(next(iter(config["id2label"].values())))
    with pytest.raises(CheckpointUnsupported, match=rf"{label}.*--positive-label"):
        positive_output(write(folder, **config))


def test_the_user_names_the_output_by_label_or_index(folder: Path) -> None:
    write(folder, **named("POSITIVE", "NEGATIVE"))
    assert [positive_output(folder, wanted) for wanted in ("POSITIVE", "negative", "0", "1")] == [0, 1, 0, 1]
    write(folder, **named("1", "0"))  # a label goes before an index
    assert [positive_output(folder, wanted) for wanted in ("0", "1")] == [1, 0]
    write(folder, **named("+", "-"))
    assert [positive_output(folder, wanted) for wanted in ("+", "-")] == [0, 1]


@pytest.mark.parametrize("wanted", ["2", "-1", "", "good", "same"])
def test_a_name_that_is_not_one_of_the_labels_is_refused(folder: Path, wanted: str) -> None:
    with pytest.raises(CheckpointUnsupported, match="0: same, 1: same"):
        positive_output(write(folder, **named("same", "same")), wanted)


@pytest.mark.parametrize("config", [{"id2label": ["a", "b"]}, {"id2label": {"a": "0"}}, {"label2id": {"a": "b"}}])
def test_a_config_that_transformers_cannot_read_is_damaged(folder: Path, config: dict[str, Any]) -> None:
    with pytest.raises(CheckpointDamaged, match=folder.name):
        outputs_of(write(folder, **config))
