import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import MalformedInput
from pipelines.text.strict_json import BOM, read_json

SECRET = "canary-5f3a"
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=20,
)


@given(value=VALUES, ascii_only=st.booleans(), mark=st.sampled_from([b"", BOM]))
def test_everything_that_json_can_say_is_read(value: Any, ascii_only: bool, mark: bytes) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    try:
        content = text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair can only be written as an escape
        content = json.dumps(value).encode()
    assert read_json(mark + content) == value


@given(content=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        value = read_json(content)
    except MalformedInput:
        return
    assert value == json.loads(content.removeprefix(BOM).decode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        f'{{"{SECRET}": 1',
        f'{{"{SECRET}": 1,}}',
        f"[{SECRET}]",
        f'["{SECRET}\n"]',
        f'["{SECRET}"] ["{SECRET}"]',
        f'{{"{SECRET}": 1, "{SECRET}": 2}}',
        f'{{"a": [{{"{SECRET}": 1, "\\u0063{SECRET[1:]}": 2}}]}}',
        "NaN",
        "[Infinity]",
        '{"a": -Infinity}',
        "1e999",
        "[-1e999]",
        "9" * 5000,
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
    ids=lambda text: text[:24],
)
def test_what_is_not_json_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(MalformedInput) as error:
        read_json(text.encode())
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize(
    "content",
    [
        '{"a": "가"}'.encode("utf-16"),
        '{"a": "b"}'.encode("utf-16-le"),
        '{"a": "b"}'.encode("utf-32"),
        '{"a": "가"}'.encode("cp949"),
        b'{"a": "\xc0\xaf"}',
        b'{"a": "\xed\xa0\x80"}',
    ],
)
def test_bytes_that_are_not_utf8_are_refused(content: bytes) -> None:
    with pytest.raises(MalformedInput):
        read_json(content)


def test_the_largest_float_is_read() -> None:
    assert read_json(b"1.7976931348623157e308") == math.nextafter(math.inf, 0)
