import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from pipelines.bulk.output import ERRORS
from pipelines.bulk.source import Format
from pipelines.bulk.storage import Location
from pipelines.bulk.worker import PartScorer
from pipelines.errors import StageFailed
from tests.pipelines.bulk.scoring import FAILING, content_of, output_of, run_on, score_all, scorer

PASSAGES = ["A boy walks.", '쉼표, 따옴표 " 와\n줄', FAILING, " ", "The end."]
SCORED = [PASSAGES[0], PASSAGES[1], PASSAGES[4]]
REASONS = ["the model failed on this item (ValueError)", "passage has no visible character"]


def write(folder: Path, form: Format) -> Path:
    path = folder / f"rows.{form}"
    rows = [{"id": str(number), "passage": passage} for number, passage in enumerate(PASSAGES)]
    if form == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    with path.open("w", encoding="utf-8", newline="") as file:
        if form == "jsonl":
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, ["id", "passage"])
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    match path.suffix:
        case ".parquet":
            rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
            return rows
        case ".jsonl":
            return [json.loads(line) for line in path.read_bytes().splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@pytest.mark.parametrize("to", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_every_format_can_be_read_and_written(form: Format, to: Format, tmp_path: Path) -> None:
    path = write(tmp_path, form)
    output = score_all(run_on(path, format=to, keep=("id", "passage")), path, tmp_path / "out")
    rows = read(tmp_path / "out" / f"part-00000.{to}")
    assert [(row["id"], row["passage"]) for row in rows] == [("0", SCORED[0]), ("1", SCORED[1]), ("4", SCORED[2])]
    assert [float(row["prob"]) for row in rows] == pytest.approx([len(passage) / 100 for passage in SCORED])
    assert output.finish().set_aside == 2
    errors = read(tmp_path / "out" / ERRORS)
    assert [error["reason"] for error in errors] == REASONS
    place = {"jsonl": ("line", [3, 4]), "csv": ("line", [5, 6]), "parquet": ("row", [3, 4])}[form]
    assert [error[place[0]] for error in errors] == place[1]


def test_the_output_can_be_scored_again(tmp_path: Path) -> None:
    path = write(tmp_path, "csv")
    score_all(run_on(path), path, tmp_path / "out").finish()
    score_all(run_on(tmp_path / "out", keep=("passage",)), tmp_path / "out", tmp_path / "again").finish()
    assert [row["passage"] for row in read(tmp_path / "again" / "part-00000.csv")] == SCORED


def test_the_size_of_parts_changes_no_row(tmp_path: Path) -> None:
    path = write(tmp_path, "jsonl")
    score_all(run_on(path, part_bytes=1), path, tmp_path / "many")
    score_all(run_on(path), path, tmp_path / "one")
    assert len(list((tmp_path / "many").glob("part-*"))) == len(PASSAGES)
    assert content_of(tmp_path / "many") == content_of(tmp_path / "one")


def test_empty_questions_are_answered_without_the_model(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "", "context": "x"}\n{"question": "x", "context": " "}\n', encoding="utf-8")
    score_all(run_on(path, task="qa"), path, tmp_path / "out")
    assert [row["answer"] for row in read(tmp_path / "out" / "part-00000.jsonl")] == ["", ""]


def test_progress_and_report_count_all_rows_of_a_part(tmp_path: Path) -> None:
    path = write(tmp_path, "jsonl")
    run = run_on(path)
    told: list[tuple[int, int]] = []
    parts = PartScorer(
        run, Location.of(str(path)), output_of(run, tmp_path / "out"), scorer(3), lambda *counts: told.append(counts)
    )
    report = parts.score(0)
    assert told == [(3, 1), (2, 1)]
    assert (report.number, report.rows, report.set_aside, report.engine) == (0, 5, 2, "by length")
    assert report.began_s <= report.ended_s


def test_a_part_that_could_not_be_scored_has_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "jsonl")
    run = run_on(path)
    output = output_of(run, tmp_path / "out")
    broken = scorer()

    def fail(_: Any) -> Any:
        raise StageFailed("the model", "RuntimeError")

    monkeypatch.setattr(broken, "results", fail)
    with pytest.raises(StageFailed):
        PartScorer(run, Location.of(str(path)), output, broken, lambda *_: None).score(0)
    assert output.missing() == [0]
