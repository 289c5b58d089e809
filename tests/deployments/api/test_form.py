import contextlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from deployments.api.form import MAX_PARTS, file_of_form
from pipelines.errors import InvalidInput, MalformedInput
from pipelines.text.strict_json import BOM
from tests.deployments.api.test_problems import is_problem

TYPE = "multipart/form-data; boundary=edge"
HEADER = b'Content-Disposition: form-data; name="file"; filename="pairs.json"\r\n'


def part(content: bytes, header: bytes = HEADER) -> bytes:
    return b"--edge\r\n" + header + b"\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--edge--\r\n"


@given(
    content=st.binary(min_size=1).filter(lambda content: content.removeprefix(BOM).strip() and b"--edge" not in content)
)
def test_the_file_is_returned_as_it_was_sent(content: bytes) -> None:
    assume(content.removeprefix(BOM).strip() and b"--edge" not in content)
    assert file_of_form(TYPE, form(part(content))) == content


def test_other_fields_and_text_after_the_form_are_ignored() -> None:
    other = part(b"1", b'Content-Disposition: form-data; name="idx"\r\n')
    assert file_of_form(TYPE, form(other, part(b"{}"), other) + b"more") == b"{}"


def test_a_content_that_resembles_the_boundary_is_kept() -> None:
    content = b"\r\n--edg\r\n--ed\r\n-"
    assert file_of_form(TYPE, form(part(content))) == content


@pytest.mark.parametrize(
    "name", [b"../../etc/passwd", b"C:\\\\pairs.json", b"a\\r\\nb", "짝.json".encode(), b"\xff", b""]
)
def test_a_file_name_is_not_used(name: bytes) -> None:
    header = b'Content-Disposition: form-data; name="file"; filename="' + name + b'"\r\n'
    assert file_of_form(TYPE, form(part(b"{}", header))) == b"{}"


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=", f"{TYPE}{'e' * 70}"])
def test_a_form_without_a_valid_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(MalformedInput, match="no boundary"):
        file_of_form(content_type, form(part(b"{}")))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        part(b"{}"),
        form(part(b"{}"))[:-4],
        b"preamble\r\n" + form(part(b"{}")),
        b"\r\n" * 2_000_000 + form(part(b"{}")),
        form(part(b"{}", b"no header\r\n")),
        form(*[part(b"{}", b'Content-Disposition: form-data; name="x"\r\n')] * (MAX_PARTS + 1)),
        form(*[part(b"{}", b'Content-Disposition: form-data; name="x"\r\n')] * 10_000),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_damaged_form_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedInput):
        file_of_form(TYPE, body)


@given(body=st.binary(max_size=200), cut=st.integers(0, 200))
def test_any_bytes_are_read_or_refused(body: bytes, cut: int) -> None:
    whole = form(part(body))
    for damaged in (body, whole[:cut], whole[:cut] + body + whole[cut:]):
        with contextlib.suppress(MalformedInput, InvalidInput):
            assert file_of_form(TYPE, damaged) in damaged


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([part(b"{}", b'Content-Disposition: form-data; name="other"; filename="a"\r\n')], "missing"),
        ([part(b"{}", b"Content-Type: application/json\r\n")], "missing"),
        ([], "missing"),
        ([part(b"{}"), part(b"{}")], "too_many_files"),
        ([part(b"{}", b'Content-Disposition: form-data; name="file"\r\n')], "not_a_file"),
        ([part(b"")], "empty"),
        ([part(b" \r\n\t")], "empty"),
        ([part(b"\xef\xbb\xbf")], "empty"),
    ],
)
def test_a_form_without_exactly_one_file_is_422(client: TestClient, parts: list[bytes], code: str) -> None:
    answer = client.post("/pred/file/", content=form(*parts), headers={"Content-Type": TYPE})
    (fault,) = is_problem(answer, 422)["errors"]
    assert (fault["pointer"], fault["code"]) == ("/file", code)
