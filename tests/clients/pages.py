"""Run the Python blocks of a page of the documentation: `python pages.py PAGE URL`.

The server is at URL in place of http://localhost:8000. A block must print what the comments behind its calls of `print`
say. It runs in the environment of `make test-clients`, which has none of this project's packages.
"""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)
SHOWN_URL = "http://localhost:8000"


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """The number of lines before each block, and the block."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        yield text.count("\n", 0, found.start(1)), found.group(1)


def run(page: Path, url: str) -> int:
    """Run the blocks, and return their number. Raises what a block raises, and AssertionError for other output."""
    count = 0
    for lines_before, block in blocks(page):
        code = compile("\n" * lines_before + block.replace(SHOWN_URL, url), str(page), "exec")
        output = io.StringIO()
        with redirect_stdout(output):
            exec(code, {"__name__": "__main__"})
        assert output.getvalue().splitlines() == SHOWN.findall(block), f"{page}:{lines_before}: {output.getvalue()}"
        count += 1
    return count


if __name__ == "__main__":
    print(run(Path(sys.argv[1]), sys.argv[2]))  # noqa: T201
