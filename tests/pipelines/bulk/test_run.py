import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from pipelines.bulk.parquet import schema_of
from pipelines.bulk.run import Run
from pipelines.bulk.storage import Location
from pipelines.engines.choice import EngineSettings
from pipelines.errors import DataError, DataNotFound, MalformedInput, OutputTaken
from tests.pipelines.bulk.scoring import run_on

ROW = {"id": 7, "passage": "A boy walks."}


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("id,passage\n7,A boy walks.\n", encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"id": [7], "other": [1.5], "passage": ["A boy walks."]}), path)
    return path


def test_a_run_can_be_written_and_read(jsonl: Path) -> None:
    run = run_on(jsonl)
    assert Run.model_validate_json(run.model_dump_json()) == run


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"keep": ("id",)}, "--keep"),
        ({"format": "parquet"}, "--format"),
        ({"columns": {"passage": "text"}}, "--columns"),
        ({"engine": EngineSettings(dtype="int8")}, "--engine"),
        ({"part_bytes": 5}, "--part-bytes"),
    ],
)
def test_a_run_with_other_options_is_refused_by_their_names(jsonl: Path, change: dict[str, Any], named: str) -> None:
    run_on(jsonl).refuse_other(run_on(jsonl), "out")
    with pytest.raises(OutputTaken, match=f"out: belongs to another run, which differs in {named}; name a new folder"):
        run_on(jsonl).refuse_other(run_on(jsonl, **change), "out")


def test_a_run_with_another_input_checkpoint_or_task_is_refused(jsonl: Path) -> None:
    run = run_on(jsonl)
    with pytest.raises(OutputTaken, match=r"differs in the checkpoint \(tiny 0123\)"):
        run.refuse_other(run.model_copy(update={"digest": "4567"}), "out")
    with pytest.raises(OutputTaken, match="differs in the task, --columns"):
        run.refuse_other(run_on(jsonl, task="sts"), "out")
    jsonl.write_text(jsonl.read_text(encoding="utf-8").replace("7", "8"), encoding="utf-8")
    with pytest.raises(OutputTaken, match="differs in the input"):
        run.refuse_other(run_on(jsonl), "out")


def test_the_same_content_in_another_place_is_the_same_input(jsonl: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_bytes(jsonl.read_bytes())
    run_on(jsonl).refuse_other(run_on(other), "out")


@pytest.mark.parametrize(
    ("options", "copied"),
    [
        ({}, ROW),
        ({"keep": ("id", "no")}, {"id": 7}),
        ({"format": "csv"}, {"passage": "A boy walks."}),
        ({"format": "csv", "keep": ("id",)}, {"id": 7}),
    ],
)
def test_columns_of_json_lines_are_copied_as_asked_for(
    jsonl: Path, options: dict[str, Any], copied: dict[str, Any]
) -> None:
    run = run_on(jsonl, **options)
    assert run.copied(ROW, ("A boy walks.",)) == copied
    if run.options.format == "csv":
        assert list(run.types(None)) == [*copied, "prob"]


def test_columns_of_a_table_keep_their_types_where_the_output_is_one(table: Path) -> None:
    run = run_on(table, keep=("id",))
    types = run.types(schema_of(Location.of(str(table))))
    assert types == {"id": pyarrow.int64(), "prob": pyarrow.float32()}
    assert run.read_columns == ["id", "passage"]
    assert run_on(table).read_columns == ["id", "other", "passage"]


def test_a_column_that_the_input_lacks_is_named(csv: Path) -> None:
    run_on(csv, keep=("id",)).refuse_unfit()
    with pytest.raises(DataNotFound, match="has no column text; it has id, passage"):
        run_on(csv, columns={"passage": "text"}).refuse_unfit()
    with pytest.raises(DataNotFound, match="has no column idx; it has id, passage"):
        run_on(csv, keep=("idx",)).refuse_unfit()


def test_a_column_with_the_name_of_a_result_is_refused_unless_others_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("prob,passage\n.5,A boy walks.\n", encoding="utf-8")
    with pytest.raises(DataError, match="has a column prob already; name others to copy with --keep"):
        run_on(path).refuse_unfit()
    run_on(path, keep=("passage",)).refuse_unfit()


def test_a_row_with_a_field_of_the_name_of_a_result_is_refused(jsonl: Path) -> None:
    with pytest.raises(MalformedInput, match="the row has a field prob already"):
        run_on(jsonl).copied(ROW | {"prob": 0.5}, ("A boy walks.",))
    assert run_on(jsonl, keep=("id",)).copied(ROW | {"prob": 0.5}, ("A boy walks.",)) == {"id": 7}


def test_embeddings_do_not_fit_into_csv(jsonl: Path) -> None:
    run_on(jsonl, task="embeddings").refuse_unfit()
    with pytest.raises(DataError, match="can't hold embeddings; choose another --format"):
        run_on(jsonl, task="embeddings", format="csv").refuse_unfit()


def test_names_of_parts_are_sorted_by_number(jsonl: Path) -> None:
    run = run_on(jsonl)
    assert run.part_name(7) == "part-00007.jsonl"
    many = run.model_copy(update={"source": run.source.model_copy(update={"parts": run.source.parts * 100_001})})
    assert many.part_name(7) == "part-000007.jsonl"
