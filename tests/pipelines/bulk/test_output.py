import json
from pathlib import Path

import pytest

from pipelines.bulk.output import ERRORS, MANIFEST, stored_run
from pipelines.bulk.run import Finished
from pipelines.bulk.storage import Location
from pipelines.errors import OutputTaken
from tests.pipelines.bulk.scoring import content_of, output_of, run_on, score_all
from tests.s3 import Bucket


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Ten passages, two of them blank, and a line that is no JSON."""
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"passage": "" if number in (2, 7) else f"Passage {number}."}) for number in range(10)]
    path.write_text("\n".join([*lines[:5], "{", *lines[5:]]), encoding="utf-8")
    return path


def test_a_part_without_a_file_is_missing(rows: Path, tmp_path: Path) -> None:
    run = run_on(rows, part_bytes=60)
    output = score_all(run, rows, tmp_path / "out")
    assert len(run.source.parts) > 3
    assert output.missing() == []
    output.part(1).delete()
    assert output.missing() == [1]


def test_the_errors_of_all_parts_end_in_one_file(rows: Path, tmp_path: Path) -> None:
    output = score_all(run_on(rows, part_bytes=60), rows, tmp_path / "out")
    assert output.finish() == Finished(scored=8, set_aside=3)
    errors = [json.loads(line) for line in (tmp_path / "out" / ERRORS).read_text(encoding="utf-8").splitlines()]
    assert errors == [
        {"file": "", "line": 3, "reason": "passage has no visible character"},
        {"file": "", "line": 6, "reason": "the text is not valid JSON: column 2"},
        {"file": "", "line": 9, "reason": "passage has no visible character"},
    ]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {name for name in names if name.startswith("_")} == {ERRORS, MANIFEST}
    stored = stored_run(Location.of(str(tmp_path / "out")))
    assert stored is not None
    assert stored.finished == Finished(scored=8, set_aside=3)


def test_a_run_without_errors_leaves_no_file_of_errors(rows: Path, tmp_path: Path) -> None:
    rows.write_text('{"passage": "A boy walks."}\n', encoding="utf-8")
    output = score_all(run_on(rows), rows, tmp_path / "out")
    assert output.finish() == Finished(scored=1, set_aside=0)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {MANIFEST, "part-00000.jsonl"}


def test_a_finish_that_was_interrupted_can_be_repeated(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = score_all(run_on(rows, part_bytes=60), rows, tmp_path / "out")

    def fail(_: Location) -> None:
        raise OSError("the storage is away")

    with monkeypatch.context() as patched:
        patched.setattr(Location, "delete", fail)
        with pytest.raises(OSError, match="away"):
            output.finish()
    assert output.finish() == Finished(scored=8, set_aside=3)


def test_what_an_interrupted_writer_left_is_removed_at_the_end(rows: Path, tmp_path: Path) -> None:
    output = score_all(run_on(rows), rows, tmp_path / "out")
    (tmp_path / "out" / "_part-00000.jsonl.0123.partial").write_bytes(b"half")
    output.finish()
    assert not list((tmp_path / "out").glob("*.partial"))


def test_a_begun_run_is_found_again(rows: Path, tmp_path: Path) -> None:
    folder = Location.of(str(tmp_path / "out"))
    assert stored_run(folder) is None
    run = run_on(rows)
    output_of(run, tmp_path / "out")
    output_of(run, tmp_path / "out")
    assert stored_run(folder) == run


def test_a_folder_in_which_only_half_a_manifest_was_written_is_free(rows: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"_{MANIFEST}.0123.partial").write_bytes(b"{")
    assert stored_run(Location.of(str(tmp_path / "out"))) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("out", "is a file; name a folder"),
        ("out/x.txt", "holds other files"),
        (f"out/{MANIFEST}", "is not the manifest"),
    ],
)
def test_a_place_that_holds_something_else_is_refused(name: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(OutputTaken, match=why):
        stored_run(Location.of(str(tmp_path / "out")))


def test_rows_of_all_parts_are_in_the_order_of_the_input(rows: Path, tmp_path: Path) -> None:
    score_all(run_on(rows, part_bytes=60), rows, tmp_path / "out")
    passages = [json.loads(line)["passage"] for line in content_of(tmp_path / "out").splitlines()]
    assert passages == [f"Passage {number}." for number in (0, 1, 3, 4, 5, 6, 8, 9)]


def test_input_and_output_may_be_in_an_object_store(rows: Path, bucket: Bucket) -> None:
    bucket.objects["bucket/in/rows.jsonl"] = rows.read_bytes()
    run = run_on("s3://bucket/in", part_bytes=60)
    output = score_all(run, "s3://bucket/in", "s3://bucket/out")
    assert output.missing() == []
    assert output.finish() == Finished(scored=8, set_aside=3)
    names = {path.removeprefix("bucket/out/") for path in bucket.objects if path.startswith("bucket/out/")} - {""}
    assert names == {ERRORS, MANIFEST, *(run.part_name(number) for number in range(len(run.source.parts)))}
    assert stored_run(Location.of("s3://bucket/out")) is not None
