"""The requests that the documentation shows get the answers that it shows, from a server on the shipped checkpoints."""

import json
import re
import subprocess

import pytest

from tests.docs import Example, examples
from tests.serve.server import Server

pytestmark = pytest.mark.serve

SHOWN_URL = "localhost:8000"
RUNTIME = re.compile(r'"runtime\(sec\)":[0-9.e-]+')


@pytest.mark.parametrize("example", [pytest.param(one, id=one.place) for one in examples() if one.words[0] == "curl"])
def test_a_request_gets_the_answer_that_is_shown(server: Server, example: Example) -> None:
    address = server.url.removeprefix("http://")
    command = [word.replace(SHOWN_URL, address) for word in example.words]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    (shown,) = example.output
    if shown.endswith("..."):  # an answer too long to be shown
        assert answer.startswith(shown.removesuffix("..."))
    else:
        assert rounded(answer) == rounded(shown)


def rounded(answer: str) -> object:
    """The answer without its runtime, numbers to four digits: another CPU rounds the last ones otherwise."""
    return json.loads(RUNTIME.sub('"runtime(sec)":0', answer), parse_float=lambda number: round(float(number), 4))
