"""The Python blocks of the documentation for clients run, and print what they show, against a real server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.pages import run
from tests.serve.server import ROOT, Server


@pytest.mark.clients
@pytest.mark.parametrize("page", ["clients.md", "jobs.md"])
def test_the_python_of_a_page_prints_what_it_shows(server: Server, run_script: Callable[..., str], page: str) -> None:
    path = ROOT / "docs" / page
    blocks = path.read_text(encoding="utf-8").count("```python\n")
    assert int(run_script("pages.py", str(path), server.url)) == blocks > 0


def page_of(folder: Path, *lines: str) -> Path:
    page = folder / "page.md"
    page.write_text("\n".join(["A page:", "", "```python", *lines, "```", ""]), encoding="utf-8")
    return page


def test_a_block_whose_output_is_shown_passes(tmp_path: Path) -> None:
    page = page_of(tmp_path, 'print("http://localhost:8000")  # http://127.0.0.1:1', "print(1)  # 1")
    with pytest.raises(AssertionError):
        run(page, "http://127.0.0.1:2")
    assert run(page, "http://127.0.0.1:1") == 1


@pytest.mark.parametrize("line", ["raise OSError", "print(2)  # 1", "print(1)"])
def test_a_block_that_fails_or_prints_anything_else_is_found(tmp_path: Path, line: str) -> None:
    with pytest.raises((OSError, AssertionError)):
        run(page_of(tmp_path, line), "http://127.0.0.1:1")
