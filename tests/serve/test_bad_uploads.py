"""Every kind of bad upload over real HTTP, and files of awkward lengths."""

import csv
import gzip
import io
import json
import socket
import zipfile
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.serve.raw_http import exchange, request
from tests.serve.server import Server

pytestmark = pytest.mark.serve

SECRET = "비밀-5f3a"
PATH = "/pred/file/"
FORM = {"Content-Type": "multipart/form-data; boundary=edge"}
HEADER = b'Content-Disposition: form-data; name="file"; filename="pairs.json"\r\n'
ROW = {"idx": 1, "sentence1": SECRET, "sentence2": "가"}


def document(*rows: object) -> bytes:
    return json.dumps({"results": rows}, ensure_ascii=False).encode()


def part(content: bytes, header: bytes = HEADER) -> bytes:
    return b"--edge\r\n" + header + b"\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--edge--\r\n"


def zipped() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("pairs.json", document(ROW))
    return archive.getvalue()


def semicolons() -> bytes:
    table = io.StringIO()
    csv.writer(table, delimiter=";").writerows([["sentence1", "sentence2"], [SECRET, "가"]])
    return table.getvalue().encode()


GOOD = form(part(document(ROW)))
FAULTS: dict[str, tuple[dict[str, str], bytes, int]] = {
    "no form": ({}, GOOD, 415),
    "JSON in place of a form": ({"Content-Type": "application/json"}, document(ROW), 415),
    "CSV in place of a form": ({"Content-Type": "text/csv"}, b"sentence1,sentence2\na,b\n", 415),
    "JSON Lines in place of a form": ({"Content-Type": "application/x-ndjson"}, document(ROW), 415),
    "a compressed form": (FORM | {"Content-Encoding": "gzip"}, gzip.compress(GOOD), 415),
    "no boundary": ({"Content-Type": "multipart/form-data"}, GOOD, 400),
    "an empty boundary": ({"Content-Type": "multipart/form-data; boundary="}, GOOD, 400),
    "another boundary": ({"Content-Type": "multipart/form-data; boundary=other"}, GOOD, 400),
    "a form that does not end": (FORM, part(document(ROW)), 400),
    "megabytes of preamble": (FORM, b"x" * 2**22 + b"\r\n" + GOOD, 400),
    "10,000 parts": (FORM, form(*[part(b"", b'Content-Disposition: form-data; name="x"\r\n')] * 10_000), 400),
    "an empty form": (FORM, b"", 400),
    "a wrong field": (FORM, form(part(document(ROW), HEADER.replace(b'"file"', b'"other"'))), 422),
    "two files": (FORM, form(part(document(ROW)), part(document(ROW))), 422),
    "an empty file": (FORM, form(part(b"")), 422),
    "no pairs": (FORM, form(part(document())), 422),
    "columns": (FORM, form(part(b'{"results": {"sentence1": ["a"], "sentence2": ["b"]}}')), 422),
    "a list": (FORM, form(part(b"[1]")), 422),
    "an integer in the last pair": (FORM, form(part(document(ROW, ROW, ROW | {"sentence2": 1}))), 422),
    "half of a surrogate pair": (FORM, form(part(document(ROW).replace("가".encode(), b"\\ud800"))), 422),
    "bad JSON": (FORM, form(part(document(ROW)[:-2])), 400),
    "NaN": (FORM, form(part(document(ROW).replace(b": 1,", b": NaN,"))), 400),
    "a key twice": (FORM, form(part(document(ROW).replace(b'"idx": 1', b'"idx": 1, "idx": 2'))), 400),
    "CP949": (FORM, form(part(document(ROW).decode().encode("cp949"))), 400),
    "UTF-16": (FORM, form(part(document(ROW).decode().encode("utf-16"))), 400),
    "a zip file": (FORM, form(part(zipped())), 400),
    "a compressed file": (FORM, form(part(gzip.compress(document(ROW)))), 415),
    "CSV with semicolons": (FORM, form(part(semicolons())), 400),
    "too many pairs": (FORM, form(part(document(*[0] * 100_001))), 413),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_upload_is_refused_and_the_next_one_is_scored(server: Server, fault: str) -> None:
    headers, body, status = FAULTS[fault]
    answer = exchange(server.url, request("POST", PATH, headers, body))
    assert answer.status == status, answer
    problem = answer.problem()
    assert SECRET not in json.dumps(problem, ensure_ascii=False)
    assert len(json.loads(exchange(server.url, request("POST", PATH, FORM, GOOD)).body)["scores"]) == 1


def test_a_pair_without_a_field_is_named_by_its_place(client: httpx2.Client) -> None:
    rows = [ROW | {"idx": i} for i in range(1, 1001)]
    del rows[516]["sentence2"]
    answer = client.post(PATH, files={"file": ("pairs.json", document(*rows))})
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/results/516/sentence2"]


@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257, 999])
@pytest.mark.parametrize("repeat", [False, True])
def test_every_pair_of_a_file_has_one_result_in_its_place(client: httpx2.Client, count: int, repeat: bool) -> None:
    rows = [{"sentence1": f"{0 if repeat else i}번 문장", "sentence2": "가"} for i in range(count)]
    answer = client.post(PATH, files={"file": ("pairs.json", document(*rows))}).json()
    assert answer["sentences"] == [[row["sentence1"], "가"] for row in rows]
    assert len(answer["scores"]) == len(answer["preds"]) == count


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\r\nX-Injected: 1", "짝.json"])
def test_a_file_name_has_no_effect(client: httpx2.Client, name: str) -> None:
    answer = client.post(PATH, files={"file": (name, document(ROW))})
    assert (answer.status_code, len(answer.json()["scores"])) == (200, 1)
    assert "x-injected" not in answer.headers


@pytest.mark.parametrize("write", [document, lambda *rows: b"\xef\xbb\xbf" + document(*rows)])
def test_a_byte_order_mark_is_accepted(client: httpx2.Client, write: Callable[..., bytes]) -> None:
    assert client.post(PATH, files={"file": ("pairs.json", write(ROW))}).status_code == 200


def test_a_client_that_leaves_in_mid_upload_leaves_the_server_working(server: Server, client: httpx2.Client) -> None:
    address = urlsplit(server.url)
    for _ in range(20):
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(request("POST", PATH, FORM, GOOD[:50], length=len(GOOD)))
    assert client.post(PATH, files={"file": ("pairs.json", document(ROW))}).status_code == 200
