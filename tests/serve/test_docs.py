"""The requests that the documentation shows get the answers that it shows, from a server on the shipped checkpoints."""

import json
import math
import re
import subprocess
from typing import Any

import pytest

from tests.docs import Example, examples
from tests.serve.server import Server

pytestmark = pytest.mark.serve

SHOWN_URL = "localhost:8000"
MOST_APART = 0.01
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
        assert same(decoded(answer), decoded(shown))


def decoded(answer: str) -> Any:
    """The answer without its runtime."""
    return json.loads(RUNTIME.sub('"runtime(sec)":0', answer))


def same(one: Any, other: Any) -> bool:
    """Whether two answers are equal, but for numbers: CPUs with AVX-512 VNNI compute in int8, others in float32."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, abs_tol=MOST_APART)
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
