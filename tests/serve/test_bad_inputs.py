"""Every kind of bad input over real HTTP: it gets its status, repeats nothing, and the next good request works."""

import json
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.serve.raw_http import Answer, chunked, exchange, request
from tests.serve.server import Server

pytestmark = pytest.mark.serve

SECRET = "비밀-5f3a"
JSON = {"Content-Type": "application/json"}
VALID: dict[str, dict[str, Any]] = {
    "/pred/sentences/": {"sentence_1": SECRET, "sentence_2": "가"},
    "/generate": {"passage": f"I are {SECRET}"},
    "/api": {"question": f"{SECRET}?", "context": "그것은 산이다."},
    "/chat/": {"prompt": SECRET, "api_key": "sk-canary", "db_path": "no_such_store/"},
    "/v1/chat": {"prompt": SECRET, "api_key": "sk-canary", "db_path": "no_such_store/"},
}
ROUTES = sorted(VALID)
LISTS: dict[str, dict[str, Any]] = {
    "/v1/similarity": {"pairs": [[SECRET, "가"]]},
    "/v1/acceptability": {"passages": [f"I are {SECRET}가"]},
    "/v1/embeddings": {"input": [SECRET, "가"], "model": "sts"},
    "/embed": {"inputs": [SECRET, "가"]},
    "/": {"inputs": [SECRET, "가"]},
    "/similarity": {"inputs": {"source_sentence": SECRET, "sentences": ["가"]}},
    "/predict": {"inputs": [[SECRET], ["가"]]},
    "/tokenize": {"inputs": [SECRET, "가"]},
    "/decode": {"ids": [[5, 6]], "x": SECRET},
    "/rerank": {"query": SECRET, "texts": ["가"]},
    "/v2/rerank": {"query": SECRET, "documents": ["가"], "model": "sts"},
    "/score": {"text_1": SECRET, "text_2": ["가"]},
    "/classify": {"input": [SECRET, "가"]},
    "/models/question-answering": {"inputs": {"question": SECRET, "context": "가"}},
    "/v1/answers": {"context": "그것은 가산이다.", "questions": [f"{SECRET}?"]},
}
"""Routes whose items have errors of their own."""
BODIES = VALID | LISTS
ALL_ROUTES = sorted(BODIES)


def text(path: str, **fields: Any) -> str:
    return json.dumps(BODIES[path] | fields, ensure_ascii=False)


def with_member(path: str, member: str) -> bytes:
    """The valid body with one more member, as it is written."""
    return (text(path)[:-1] + f", {member}}}").encode()


def first(path: str) -> str:
    """The name of the first field."""
    return next(iter(BODIES[path]))


MALFORMED = {
    "empty": lambda path: b"",
    "blank": lambda path: b" \r\n",
    "truncated": lambda path: text(path).encode()[:-3],
    "trailing comma": lambda path: (text(path)[:-1] + ",}").encode(),
    "no JSON": lambda path: SECRET.encode(),
    "UTF-16": lambda path: text(path).encode("utf-16"),
    "UTF-16 without mark": lambda path: text(path).encode("utf-16-le"),
    "UTF-32": lambda path: text(path).encode("utf-32"),
    "CP949": lambda path: text(path).encode("cp949"),
    "overlong UTF-8": lambda path: text(path).encode().replace("가".encode(), b"\xc0\xaf") + b"\xc0\xaf",
    "same key twice": lambda path: with_member(path, f'"{first(path)}": "나"'),
    "same key twice, escaped": lambda path: with_member(path, f'"\\u{ord(first(path)[0]):04x}{first(path)[1:]}": "나"'),
    "same key twice in an unknown field": lambda path: with_member(path, '"x": [{"a": 1, "a": 1}]'),
    "NaN in an unknown field": lambda path: with_member(path, '"x": NaN'),
    "Infinity": lambda path: with_member(path, '"x": [-Infinity]'),
    "1e999": lambda path: with_member(path, '"x": 1e999'),
    "5,000 digits": lambda path: with_member(path, f'"x": {"9" * 5000}'),
    "nested 100,000 deep": lambda path: with_member(path, f'"x": {"[" * 100_000}'),
}
INVALID = {
    "a list": lambda path: "[]",
    "null": lambda path: "null",
    "a string": lambda path: f'"{SECRET}"',
    "a missing field": lambda path: "{}",
    "a number": lambda path: text(path, **{first(path): 3}),
    "a null field": lambda path: text(path, **{first(path): None}),
    "a list for a text": lambda path: text(path, **{first(path): [SECRET]}),
    "half of a surrogate pair": lambda path: json.dumps(VALID[path] | {first(path): f"{SECRET}\ud800"}),
    "NUL": lambda path: text(path, **{first(path): f"{SECRET}\0"}),
}
OTHER_MEDIA = {
    "no media type": {},
    "text/plain": {"Content-Type": "text/plain"},
    "a form": {"Content-Type": "application/x-www-form-urlencoded"},
    "CP949": {"Content-Type": "application/json; charset=cp949"},
    "gzip": JSON | {"Content-Encoding": "gzip"},
}


def refused(server: Server, sent: bytes, status: int) -> Answer:
    """Send a request that must get this status as a problem, and then a good one."""
    answer = exchange(server.url, sent)
    assert answer.status == status, answer
    problem = answer.problem()
    assert problem["instance"] == answer.headers["x-request-id"]
    for word in (SECRET, "sk-canary", "Traceback"):
        assert word not in answer.body.decode()
        assert word not in json.dumps(problem, ensure_ascii=False)
    good = httpx2.post(f"{server.url}/generate", json={"passage": "It works."}, timeout=20)
    assert good.status_code == 200
    return answer


@pytest.mark.parametrize("path", ALL_ROUTES)
@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_body_is_400(server: Server, path: str, fault: str) -> None:
    refused(server, request("POST", path, JSON, MALFORMED[fault](path)), 400)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("fault", INVALID)
def test_an_invalid_body_is_422(server: Server, path: str, fault: str) -> None:
    assert refused(server, request("POST", path, JSON, INVALID[fault](path).encode()), 422).problem()["errors"]


@pytest.mark.parametrize("path", ["/pred/sentences/", "/generate", "/chat/"])
@pytest.mark.parametrize("blank", ["", " \t", "\u200b\u200d\ufeff"])
def test_a_blank_text_is_422(server: Server, path: str, blank: str) -> None:
    refused(server, request("POST", path, JSON, text(path, **{first(path): blank}).encode()), 422)


@pytest.mark.parametrize("path", ALL_ROUTES)
@pytest.mark.parametrize("media", OTHER_MEDIA)
def test_another_media_type_or_encoding_is_415(server: Server, path: str, media: str) -> None:
    refused(server, request("POST", path, OTHER_MEDIA[media], text(path).encode()), 415)


def unfinished() -> dict[str, tuple[bytes, int]]:
    """Requests whose body does not come, or does not end, and their status."""
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    found = {}
    for path, media in [*((path, JSON) for path in ALL_ROUTES), ("/pred/file/", form)]:
        endless = media | {"Transfer-Encoding": "chunked"}
        pieces = chunked(*[b" " * 2**20] * (33 if media is form else 3))
        found[f"{path}: a declared length over the limit"] = request("POST", path, media, length=2**30), 413
        found[f"{path}: chunks over the limit"] = request("POST", path, endless, pieces, length=-1), 413
        found[f"{path}: no body"] = request("POST", path, media, length=100), 408
        found[f"{path}: half a body"] = request("POST", path, media, b'{"passage": "', length=100), 408
    return found


def test_bodies_that_are_too_long_or_never_end_are_refused_and_their_connections_closed(server: Server) -> None:
    cases = unfinished()
    with ThreadPoolExecutor(len(cases)) as threads:
        sent = {what: threads.submit(exchange, server.url, case[0], expect_close=True) for what, case in cases.items()}
    answers = {what: exchanged.result() for what, exchanged in sent.items()}
    assert {what: answer.status for what, answer in answers.items()} == {what: case[1] for what, case in cases.items()}
    assert all(answer.problem() and answer.closed for answer in answers.values())


@pytest.mark.parametrize("path", ROUTES)
def test_a_text_over_its_limit_is_413(server: Server, path: str) -> None:
    refused(server, request("POST", path, JSON, text(path, **{first(path): "가 " * 6_000}).encode()), 413)


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("fault", ["a list", "null", "a string", "a missing field", "a number", "a null field"])
def test_a_body_without_a_list_is_422(server: Server, path: str, fault: str) -> None:
    assert refused(server, request("POST", path, JSON, INVALID[fault](path).encode()), 422).problem()["errors"]


@pytest.mark.parametrize("path", sorted({*ALL_ROUTES} - {"/"}))
def test_a_wrong_method_is_405_with_what_is_allowed(server: Server, path: str) -> None:
    assert refused(server, request("GET", path, {}), 405).headers["allow"] == "POST"


def test_an_unknown_path_is_404(server: Server) -> None:
    refused(server, request("POST", "/nothing", JSON, b"{}"), 404)


@pytest.mark.parametrize("path", ["/pred/sentences/", "/generate", "/api"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_and_unknown_fields_are_accepted(server: Server, path: str, mark: bytes) -> None:
    sent = request("POST", path, JSON, mark + with_member(path, '"x": [1, {"y": null}]'))
    assert exchange(server.url, sent).status == 200


def test_decomposed_hangul_has_the_same_score(client: httpx2.Client) -> None:
    pair = {"sentence_1": "오늘 날씨가 좋다.", "sentence_2": "날씨가 맑다."}
    decomposed = {name: unicodedata.normalize("NFD", sentence) for name, sentence in pair.items()}
    scores = [client.post("/pred/sentences/", json=body).json()["score"] for body in (pair, decomposed)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


@pytest.mark.parametrize("name", ["X-Request-Timeout-Seconds", "X-Request-Disconnect-Disabled"])
def test_headers_that_steer_serve_have_no_effect(client: httpx2.Client, name: str) -> None:
    body = {"passage": "It works."}
    assert client.post("/generate", json=body, headers={name: "0.000001"}).status_code == 200


def test_headers_over_their_limit_are_431(server: Server) -> None:
    refused(server, request("GET", "/healthz", {"X-Large": "x" * 17 * 2**10}), 431)


def test_headers_that_haproxy_does_not_read_are_refused(server: Server) -> None:
    assert exchange(server.url, request("GET", "/healthz", {"X-Large": "x" * 30 * 2**20})).status == 400


def test_a_foreign_origin_gets_no_permission_and_the_page_refuses_framing(client: httpx2.Client) -> None:
    answer = client.get("/", headers={"Accept": "text/html", "Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
