import argparse
import os
import pkgutil
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.checkpoints.resolve import ROOT
from pipelines.command_line import COMMANDS, Command, Entry, main
from pipelines.errors import DataNotFound

THIS = "tests.pipelines.test_command_line"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what")
    parser.add_argument("--times", type=int, default=1)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int | None:
    match arguments.what:
        case "refuse":
            raise DataNotFound("rows.csv", "there is no such file")
        case "disk":
            raise OSError(28, "No space left on device")
        case "interrupt":
            raise KeyboardInterrupt
        case "wrong":
            parser.error("--times does not fit")
        case "three":
            return 3
    sys.stdout.write(arguments.typed)
    return None


SCRIPTED = Command("Does what it is told.", _add_options, _run, "Nothing was written.")
ENTRY = Entry(f"{THIS}:SCRIPTED", "do something", "print --times 2")
UNUSED = Entry("there.is.no:MODULE", "do something else", "")
LISTED = {"do": ENTRY, "train one": ENTRY, "train two": UNUSED}


def run(monkeypatch: pytest.MonkeyPatch, *words: str, commands: dict[str, Entry] = LISTED) -> int:
    monkeypatch.setattr(sys, "argv", ["program", *words])
    return main("program", commands)


@pytest.mark.parametrize(
    ("what", "status", "error"),
    [
        ("refuse", 1, "DataNotFound: rows.csv: there is no such file\n"),
        ("disk", 1, "OSError: [Errno 28] No space left on device\n"),
        ("interrupt", 130, "Stopped. Nothing was written.\n"),
        ("three", 3, ""),
    ],
)
def test_the_exit_status_says_how_a_command_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str, status: int, error: str
) -> None:
    assert run(monkeypatch, "do", what) == status
    assert capsys.readouterr().err == error


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "lacking", commands={"lacking": Entry("no_such_package:COMMAND", "", "", "train")}) == 1
    assert capsys.readouterr().err.startswith("This command needs no_such_package: pip install 'munjang[train]'")


@pytest.mark.parametrize(
    "words", [("do", "print", "--times", "x"), ("do", "wrong"), ("train",), ("train", "three"), ()]
)
def test_options_that_do_not_fit_end_the_program_with_status_2(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, *words)
    assert caught.value.code == 2


def test_a_command_knows_how_it_was_typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "train", "one", "my file", "--times", "2") == 0
    assert capsys.readouterr().out == "program train one 'my file' --times 2"


def test_a_program_of_one_command_has_no_name_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "print", commands={"": ENTRY}) == 0
    assert capsys.readouterr().out == "program print"


def test_help_shows_the_options_and_an_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, "train", "one", "--help")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "Does what it is told." in shown
    assert "--times" in shown
    assert shown.endswith("example:\n  program train one print --times 2\n")


def test_help_of_all_commands_imports_none_of_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, "--help", commands=LISTED | {"other": UNUSED})
    assert caught.value.code == 0
    assert "do something else" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_needs_more_packages_than_serving_names_their_extra(name: str) -> None:
    absent = ("torch", "transformers", "sklearn", "optuna", "pyarrow")
    without = f"import pkgutil, sys; sys.modules.update(dict.fromkeys({absent})); "
    command = [sys.executable, "-c", f"{without}pkgutil.resolve_name({COMMANDS[name].target!r})"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert (done.returncode != 0) == bool(COMMANDS[name].extra)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_every_command_can_be_read_by_it(name: str) -> None:
    command: Command = pkgutil.resolve_name(COMMANDS[name].target)
    parser = argparse.ArgumentParser(exit_on_error=False)
    command.add_options(parser)
    parser.parse_args(shlex.split(COMMANDS[name].example))


@pytest.mark.parametrize(
    ("line", "completions"), [("munjang tra", {"train"}), ("munjang train ", {"sts", "cola", "qa"})]
)
def test_a_shell_completes_the_names_of_commands(line: str, completions: set[str], tmp_path: Path) -> None:
    output = tmp_path / "completions"
    shell = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(output),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    command = [sys.executable, "-m", "deployments"]
    subprocess.run(command, cwd=ROOT, env=os.environ | shell, timeout=60, check=True)
    assert {word.strip() for word in output.read_text().split("\013")} >= completions
