import argparse
from pathlib import Path
from typing import Any

import pytest

from pipelines.bulk import command
from pipelines.bulk.job import Request
from pipelines.bulk.run import Finished
from pipelines.checkpoints.resolve import OutputOptions
from pipelines.engines.choice import EngineSettings


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests of the command, which are all fulfilled at once."""
    made: list[Request] = []

    def complete(request: Request) -> Finished:
        made.append(request)
        return Finished(scored=1_000 if request.task == "sts" else 0, set_aside=2)

    monkeypatch.setattr(command, "complete", complete)
    return made


def run(*words: str) -> Any:
    parser = argparse.ArgumentParser()
    command.BULK.add_options(parser)
    return command.BULK.run(parser, parser.parse_args(words))


def test_the_defaults_leave_the_choice_to_input_and_cluster(
    requests: list[Request], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sts", "in.csv", "out") == 0
    assert requests == [Request("sts", "in.csv", "out", "checkpoints/sts")]
    assert capsys.readouterr().out == "1,000 rows scored; 2 set aside, see out/_errors.jsonl\n"


def test_a_run_that_scores_nothing_has_failed(requests: list[Request]) -> None:
    assert run("embeddings", "in.csv", "out") == 1
    assert requests[0].checkpoint == "checkpoints/sts"


def test_options_become_parts_of_the_request(requests: list[Request]) -> None:
    options = ["--columns", "question=q", "context=a=b", "--keep", "id", "--format", "parquet", "--workers", "3"]
    engine = ["--threads", "2", "--device", "cpu", "--engine", '{"dtype": "int8"}', "--part-bytes", "5"]
    run("qa", "in.csv", "out", "--checkpoint", "mine", *options, *engine)
    assert requests == [
        Request(
            task="qa",
            input="in.csv",
            output="out",
            checkpoint="mine",
            columns={"question": "q", "context": "a=b"},
            keep=("id",),
            format="parquet",
            engine=EngineSettings(device="cpu", dtype="int8"),
            workers=3,
            threads=2,
            part_bytes=5,
        )
    ]


def test_what_is_said_about_outputs_becomes_part_of_the_request(requests: list[Request]) -> None:
    run("cola", "in.csv", "out", "--positive-label", "GOOD")
    run("sts", "in.csv", "out", "--scale", "-10", "10")
    assert [request.outputs for request in requests] == [
        OutputOptions(positive_label="GOOD"),
        OutputOptions(scale=(-10.0, 10.0)),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--columns", "text=t"], "'text=t' is not FIELD=COLUMN with a FIELD of sentence1, sentence2"),
        (["--columns", "sentence1"], "'sentence1' is not FIELD=COLUMN"),
        (["--engine", "{"], "--engine: Invalid JSON"),
        (["--engine", '{"dtype": "int4"}'], "--engine: Input should be"),
        (["--engine", '{"threads": 2}'], "--engine: use --threads and --workers instead"),
        (["--workers", "0"], "--workers: invalid"),
    ],
)
def test_options_that_cannot_be_read_end_the_program(
    requests: list[Request], options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run("sts", "in.csv", "out", *options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert requests == []


def test_the_module_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.bulk.__main__ import main

    monkeypatch.setattr("sys.argv", ["bulk", "sts", str(Path("no") / "where.csv"), "out"])
    assert main() == 1
    assert "DataNotFound: no/where.csv: there is no such file" in capsys.readouterr().err
