"""Check that the commands in the documentation exist and accept the options that are shown.

Requests to a server are made in `tests/serve/test_docs.py`.
"""

import argparse
import pkgutil
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from deployments.__main__ import COMMANDS, main
from pipelines.checkpoints.resolve import ROOT
from tests.docs import PAGES, Example, examples

LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)[^)]*\)")
MODULES_OF_OTHERS = {"pytest"}


def by_program(*programs: str) -> list[pytest.ParameterSet]:
    return [pytest.param(one, id=one.place) for one in examples() if one.words[0] in programs]


def test_the_tests_cover_every_program_in_the_documentation() -> None:
    assert {one.words[0] for one in examples()} <= {"make", "munjang", "python", "curl", "eval"}


@pytest.mark.parametrize("example", by_program("munjang"))
def test_the_command_line_accepts_the_shown_options(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", example.words)
    _, *words = example.words
    if words == ["--help"]:
        with pytest.raises(SystemExit, match="0"):
            main()
        return
    name = next(name for name in COMMANDS if words[: len(name.split())] == name.split())
    parser = argparse.ArgumentParser(exit_on_error=False)
    pkgutil.resolve_name(COMMANDS[name].target).add_options(parser)
    parser.parse_args(words[len(name.split()) :])


@pytest.mark.parametrize("example", by_program("make"))
def test_a_shown_make_target_exists(example: Example) -> None:
    words = example.words[: example.words.index("&&")] if "&&" in example.words else example.words
    subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, timeout=60, check=True)


@pytest.mark.parametrize("example", by_program("python"))
def test_a_shown_python_module_exists(example: Example) -> None:
    assert example.words[1] == "-m"
    assert example.words[2] in MODULES_OF_OTHERS or find_spec(example.words[2]) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_point_to_existing_files(page: object) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    assert [target for target in targets if not (page.parent / target).exists()] == []  # type: ignore[attr-defined]
