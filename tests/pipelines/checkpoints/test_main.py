import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.checkpoints import finish
from pipelines.checkpoints.__main__ import main
from pipelines.checkpoints.resolve import ROOT
from pipelines.format.manifest import read_manifest, verify
from pipelines.format.windows import WindowSettings
from tests.checkpoint_factory import make_checkpoint
from tests.conftest import MakeCheckpoint
from tests.hub import Hub, commit_of, serving
from tests.pipelines.checkpoints.damage import WEIGHTS, Planted, copy, cut, edit_json, pickle_weights
from tests.pipelines.cola.rows import row

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["checkpoints", *map(str, arguments)])
        return main()

    return run


def test_import_and_verify_succeed(
    run: Run, checkpoint: MakeCheckpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("import", checkpoint("extractor"), tmp_path / "to", "--task", "qa") == 0
    assert run("verify", tmp_path / "to", "qa") == 0
    assert capsys.readouterr().out == "extractor: intact, and gives the recorded answers\n"


def test_a_refusal_exits_with_1_and_gives_the_reason(
    run: Run, checkpoint: MakeCheckpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("import", checkpoint("extractor"), tmp_path / "to", "--task", "cola") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == f"CheckpointUnsupported: {checkpoint('extractor')}: a model for qa, not for cola"


def test_verify_names_the_damaged_file(
    run: Run, imported: MakeCheckpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(imported("static"), tmp_path / "copy")
    cut(folder / WEIGHTS, 99)
    assert run("verify", folder, "sts") == 1
    assert f"CheckpointDamaged: {folder / WEIGHTS}: " in capsys.readouterr().err


@pytest.mark.usefixtures("untraced")
def test_trim_reports_what_is_kept_and_refuses_bad_paths(
    run: Run, checkpoint: MakeCheckpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("오늘 과제는 코딩 과제입니다.\n", encoding="utf-8")
    arguments = ["trim", checkpoint("classifier"), tmp_path / "to", "--texts", texts]
    assert run(*arguments, "--scripts", "Latin", "Common") == 0
    assert re.fullmatch(r"kept \d+ of \d+ pieces, 0\.\d of 0\.\d MB\n", capsys.readouterr().out)
    assert run("verify", tmp_path / "to", "cola") == 0
    assert capsys.readouterr().out == (
        "classifier, trimmed: intact, and gives the recorded answers\n"
        "It has no ONNX graph: it could not be traced: not in this test\n"
    )
    assert run(*arguments) == 1
    assert f"CheckpointUnsupported: {tmp_path / 'to'}: exists already" in capsys.readouterr().err
    assert run("trim", checkpoint("classifier"), tmp_path / "more", "--texts", tmp_path / "none.txt") == 1
    assert f"DataNotFound: {tmp_path / 'none.txt'}: there is no such file" in capsys.readouterr().err


@pytest.mark.usefixtures("untraced")
def test_trim_takes_the_positive_label_and_the_scale_of_a_model_that_it_imports(
    run: Run, checkpoint: MakeCheckpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("오늘 과제는 코딩 과제입니다.\n", encoding="utf-8")
    labelled = copy(checkpoint("classifier"), tmp_path / "labelled")
    edit_json(labelled / "config.json", id2label={"0": "POSITIVE", "1": "NEGATIVE"})
    assert run("trim", labelled, tmp_path / "a", "--texts", texts) == 1
    assert "--positive-label LABEL" in capsys.readouterr().err
    assert run("trim", labelled, tmp_path / "a", "--texts", texts, "--positive-label", "POSITIVE") == 0
    assert read_manifest(tmp_path / "a").positive_output == 0
    pair = ["trim", checkpoint("cross-encoder"), tmp_path / "b", "--texts", texts]
    assert run(*pair, "--scale", "-10", "10") == 0
    assert read_manifest(tmp_path / "b").scale == (-10, 10)
    assert run("trim", tmp_path / "b", tmp_path / "c", "--texts", texts, "--scale", "0", "1") == 1
    assert "already in the project's format, with another scale (-10 to 10)" in capsys.readouterr().err


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A CoLA file. Its labels hardly matter: a random model scores about 0 in any case."""
    sentences = [f"{letter} the museum {letter * count}" for letter in "abcdefghij" for count in (1, 7)]
    rows = [row(sentence, number % 2 == 0) for number, sentence in enumerate(sentences)]
    path = tmp_path / "examples.tsv"
    path.write_text("".join(rows), encoding="utf-8")
    return path


def test_quantize_adds_a_graph_and_logs_its_score(
    run: Run,
    steady: Path,
    tmp_path: Path,
    examples: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = copy(steady, tmp_path / "copy")
    monkeypatch.setattr(finish, "MOST_POINTS_LOST", 100)  # the quality gate has its own tests
    assert run("quantize", folder, "--calibration", examples, "--dev", examples) == 0
    manifest = verify(folder, "cola")
    assert "model.int8.onnx" in manifest.files
    assert f"steady in int8: {manifest.int8}" in caplog.messages


def test_quantize_refuses_a_checkpoint_with_other_outputs_than_the_user_says(
    run: Run, steady: Path, tmp_path: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["quantize", steady, "--calibration", examples, "--dev", examples]
    assert run(*arguments, "--positive-label", "LABEL_0") == 1
    assert "with another positive output (1, label LABEL_1); import its source again" in capsys.readouterr().err
    assert run(*arguments, "--scale", "0", "1") == 1
    assert "--scale is for cross-encoders, but this is a classifier" in capsys.readouterr().err


def test_import_quantizes_if_it_gets_examples(
    run: Run, steady_source: Path, tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish, "MOST_POINTS_LOST", 100)
    to = tmp_path / "to"
    assert run("import", steady_source, to, "--calibration", examples, "--dev", examples) == 0
    manifest = verify(to, "cola")
    assert {"model.onnx", "model.int8.onnx"} <= set(manifest.files)
    assert manifest.int8 is not None
    assert manifest.int8.dev == "examples.tsv"


def test_import_checks_first_that_both_files_of_examples_are_given_and_exist(
    run: Run, checkpoint: MakeCheckpoint, tmp_path: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "to"
    assert run("import", checkpoint("classifier"), to, "--dev", examples) == 1
    assert "int8 needs both --calibration and --dev" in capsys.readouterr().err
    assert run("import", checkpoint("classifier"), to, "--calibration", examples, "--dev", tmp_path / "none.tsv") == 1
    assert f"CheckpointNotFound: {tmp_path / 'none.tsv'}: there is no such file" in capsys.readouterr().err
    assert not to.exists()


def test_quantize_refuses_bad_examples_and_checkpoints(
    run: Run, imported: MakeCheckpoint, tmp_path: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(imported("static"), tmp_path / "copy")
    assert run("quantize", folder, "--calibration", examples, "--dev", examples) == 1
    assert f"CheckpointDamaged: {examples}: " in capsys.readouterr().err
    assert run("quantize", tmp_path / "nowhere", "--calibration", examples, "--dev", examples) == 1
    assert "CheckpointNotFound: " in capsys.readouterr().err
    cut(folder / WEIGHTS, 99)
    assert run("quantize", folder, "--calibration", examples, "--dev", examples) == 1
    assert sorted(path.name for path in folder.glob("*.onnx")) == ["model.onnx"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["import"],
        ["trim", "a", "b"],
        ["trim", "a", "b", "--texts", "c", "--scripts", "Klingon"],
        ["verify", "folder"],
        ["verify", "folder", "translation"],
    ],
)
def test_a_wrong_command_line_exits_with_2(run: Run, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2


# All commands run in one other process: starting a process takes seconds, and huggingface_hub reads its environment
# only when it is imported.
COMMANDS = """
import contextlib, io, json, runpy, sys

import pipelines.engines.onnx_export

def refuse(*_):
    raise RuntimeError("not in this test: it takes seconds")

pipelines.engines.onnx_export.write_onnx = refuse
for arguments in json.load(sys.stdin):
    sys.argv = ["checkpoints", "import", *arguments]
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            runpy.run_module("pipelines.checkpoints", run_name="__main__")
        except SystemExit as end:
            print(json.dumps([end.code, errors.getvalue().splitlines()]))
"""
SOURCES = [
    ["owner/classifier"],
    ["owner/classifier@v1"],
    ["owner/classifier", "--revision", "v1"],
    ["owner/pickled"],
    ["owner/in-the-format"],
    ["owner/nothing"],
    ["owner/classifier@v9"],
    ["owner/planted"],
]


@dataclass
class Done:
    code: int
    errors: list[str]
    folder: Path


@pytest.fixture(scope="module")
def hub(imported: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    with serving() as hub:
        hub.add("owner/classifier", make_checkpoint("classifier", folder / "main"))
        hub.add("owner/classifier", make_checkpoint("classifier", folder / "old", seed=1), "v1")
        hub.add("owner/in-the-format", copy(imported("classifier"), folder / "format"))
        (folder / "main" / "model.onnx").write_bytes(b"not the project's")
        (folder / "main" / "pytorch_model.bin").write_bytes(b"not needed")
        (folder / "main" / "flax_model.msgpack").write_bytes(b"not needed")
        planted = pickle_weights(make_checkpoint("extractor", folder / "planted"), {"x": Planted(folder / "ran")})
        hub.add("owner/planted", planted)
        hub.add("owner/pickled", pickle_weights(make_checkpoint("classifier", folder / "pickled")))
        yield hub
    assert not (folder / "ran").exists()


@pytest.fixture(scope="module")
def done(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """The result of importing each of `SOURCES`, by its arguments."""
    folder = tmp_path_factory.mktemp("done")
    folders = [folder / str(number) / "to" for number in range(len(SOURCES))]
    commands = [[words[0], str(to), *words[1:]] for words, to in zip(SOURCES, folders, strict=True)]
    process = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        input=json.dumps(commands),
        cwd=ROOT,
        env={**os.environ, **hub.environment(folder / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    results = [json.loads(line) for line in process.stdout.splitlines()]
    return {" ".join(w): Done(*result, to) for w, result, to in zip(SOURCES, results, folders, strict=True)}


def commit(hub: Hub, repository: str, revision: str = "main") -> str:
    return commit_of(hub.repositories[repository][revision])


def test_a_hub_id_is_imported_at_its_commit(hub: Hub, done: dict[str, Done]) -> None:
    result = done["owner/classifier"]
    assert result.code == 0, result.errors
    assert result.errors[-1] == f"imported owner/classifier as {result.folder}: cola, classifier"
    assert not any("HTTP" in line for line in result.errors)
    manifest = read_manifest(result.folder)
    assert (manifest.name, manifest.base_model) == ("owner/classifier", "owner/classifier")
    assert manifest.revision == commit(hub, "owner/classifier")


@pytest.mark.parametrize("words", ["owner/classifier@v1", "owner/classifier --revision v1"])
def test_a_revision_may_be_given_in_two_ways(hub: Hub, done: dict[str, Done], words: str) -> None:
    assert done[words].code == 0, done[words].errors
    assert read_manifest(done[words].folder).revision == commit(hub, "owner/classifier", "v1")


def test_pickles_are_downloaded_only_if_there_are_no_safetensors(hub: Hub, done: dict[str, Done]) -> None:
    assert done["owner/pickled"].code == 0, done["owner/pickled"].errors
    assert ("owner/pickled", "pytorch_model.bin") in hub.fetched
    names = [name for repository, name in hub.fetched if repository == "owner/classifier"]
    assert sorted(set(names)) == ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"]


def test_a_checkpoint_in_the_format_is_downloaded_with_its_graph(
    imported: MakeCheckpoint, hub: Hub, done: dict[str, Done]
) -> None:
    result = done["owner/in-the-format"]
    assert result.code == 0, result.errors
    assert "model.onnx" in verify(result.folder, "cola").files
    assert read_manifest(result.folder) == read_manifest(imported("classifier"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("owner/nothing", "CheckpointNotFound: owner/nothing: no such path, and not on the Hub"),
        ("owner/classifier@v9", "CheckpointNotFound: owner/classifier@v9: no such path, and not on the Hub"),
        ("owner/planted", "CheckpointUnsafe: "),
    ],
)
def test_refused_imports_from_the_hub_exit_with_1_and_write_nothing(
    done: dict[str, Done], words: str, message: str
) -> None:
    assert done[words].code == 1
    assert done[words].errors[-1].startswith(message)
    assert not any("Traceback" in line for line in done[words].errors)
    assert list(done[words].folder.parent.iterdir()) == []


def test_import_records_windows_and_refuses_those_that_do_not_fit(
    run: Run, checkpoint: MakeCheckpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    windows, to = '{"max_seq_length": 150, "doc_stride": 50}', tmp_path / "to"
    assert run("import", checkpoint("extractor"), to, "--windows", windows) == 0
    assert read_manifest(to).windows == WindowSettings(max_seq_length=150, doc_stride=50)
    assert run("import", checkpoint("extractor"), tmp_path / "long", "--windows", '{"max_seq_length": 384}') == 1
    assert "less than max_seq_length 384" in capsys.readouterr().err
    assert run("import", checkpoint("classifier"), tmp_path / "other", "--windows", windows) == 1
    assert "a model for cola, which uses no windows" in capsys.readouterr().err
    assert run("import", to, tmp_path / "copy", "--windows", '{"max_seq_length": 160}') == 1
    assert "with other windows" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("windows", "why"),
    [("384", "object"), ('{"stride": 64}', "stride: "), ('{"max_seq_length": 40}', "max_seq_length has no room")],
)
def test_invalid_windows_exit_with_2(
    run: Run, tmp_path: Path, windows: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run("import", "owner/name", tmp_path / "to", "--windows", windows)
    assert caught.value.code == 2
    assert why in capsys.readouterr().err
