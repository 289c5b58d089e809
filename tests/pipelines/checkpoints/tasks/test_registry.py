"""Every task reads its data files, makes items of texts, and computes its figures."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from pipelines.checkpoints.tasks.definition import Examples
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.errors import CheckpointDamaged
from pipelines.format.manifest import Task
from tests.pipelines.cola.rows import row
from tests.pipelines.qa.rows import article


def test_every_task_of_a_manifest_is_defined() -> None:
    assert set(TASKS) == set(get_args(Task))


def test_pairs_of_both_korean_data_sets_are_read(tmp_path: Path) -> None:
    (tmp_path / "klue.json").write_text(
        json.dumps([{"sentence1": "가", "sentence2": "나", "labels": {"real-label": 3.4}}])
    )
    (tmp_path / "kor.tsv").write_text("h\n" + "g\tf\t2015\t1\t3.4\t가\t나\n", encoding="utf-8")
    (tmp_path / "pairs.csv").write_text("sentence1,sentence2,label\n가,나,3.4\n", encoding="utf-8")
    for path in sorted(tmp_path.iterdir()):
        assert TASKS["sts"].read(path) == Examples(path.name, "sts", [("가", "나")], [3.4])


def test_judgements_are_read(tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text(row("He sleeps.", True) + row("He sleep.", False))
    examples = TASKS["cola"].read(tmp_path / "dev.tsv")
    assert (examples.name, examples.inputs, examples.expected) == (
        "dev.tsv", ["He sleeps.", "He sleep."], [True, False]
    )  # fmt: skip


def test_questions_are_read(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text(json.dumps({"data": [article(0), article(1)]}))
    examples = TASKS["qa"].read(tmp_path / "dev.json")
    assert examples.expected == [("빨강",), ("노랑",)]
    assert examples.inputs[1][0].startswith("1번지")


@pytest.mark.parametrize(
    ("name", "content", "task"),
    [
        ("missing.json", None, "sts"),
        ("not.json", "{", "sts"),
        ("other.json", '[{"sentence1": "a"}]', "sts"),
        ("short.tsv", "one column\n", "cola"),
        ("other.json", "[]", "qa"),
        ("packed.json.xz", "not packed", "qa"),
    ],
)
def test_missing_and_malformed_files_are_named(tmp_path: Path, name: str, content: str | None, task: Any) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointDamaged) as caught:
        TASKS[task].read(tmp_path / name)
    assert caught.value.where == str(tmp_path / name)


def test_items_are_texts_or_pairs_and_the_longest_text_is_tried_as_the_second_of_a_pair() -> None:
    texts, others = ["long long", "short"], ["one", "two"]
    assert TASKS["cola"].probes(texts, others) == texts
    assert TASKS["sts"].probes(texts, others) == [("long long", "one"), ("short", "two"), ("one", "long long")]
    assert TASKS["qa"].probes(texts, others) == [("one", "long long"), ("two", "short")]


@pytest.mark.parametrize("task", get_args(Task))
def test_the_metric_is_one_of_the_figures(task: Task) -> None:
    outputs: dict[Task, Any] = {"sts": [(0.1, False), (0.9, True)], "cola": [0.9, 0.1], "qa": ["빨강", ""]}
    expected: dict[Task, Any] = {"sts": [0.0, 5.0], "cola": [True, False], "qa": [("빨강",), ("",)]}
    assert TASKS[task].figures(outputs[task], expected[task], 0.5)[TASKS[task].metric.lower()] == pytest.approx(1.0)


def test_figures_of_hand_made_outputs() -> None:
    passed = [(0.1, False), (0.2, True), (0.3, True), (0.9, True)]
    figures = TASKS["sts"].figures(passed, [0.0, 2.0, 3.0, 5.0], 0.2)
    assert figures == {"pearson": pytest.approx(0.9134, abs=1e-4), "spearman": 1.0, "f1": pytest.approx(0.8)}
    probabilities, acceptable = [0.9, 0.4, 0.5, 0.1], [True, False, True, False]
    assert TASKS["cola"].figures(probabilities, acceptable, 0.5) == {"matthews": pytest.approx(1.0), "accuracy": 1.0}
    assert TASKS["cola"].figures(probabilities, acceptable, 0.6)["accuracy"] == 0.75
    answered = TASKS["qa"].figures(["빨강", "파랑"], [("빨강",), ("노랑", "노란색")], None)
    assert answered == {"exact_match": 0.5, "f1": 0.75}
