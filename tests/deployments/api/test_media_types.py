import pytest
from starlette.datastructures import Headers

from deployments.api.media_types import Kind, refuse_other_media
from pipelines.errors import UnsupportedMedia


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json; version=1",
        "application/ld+json",
        "application/vnd.api+json; charset=utf8",
    ],
)
def test_json_in_utf8_is_read(content_type: str) -> None:
    refuse_other_media(Headers({"content-type": content_type}), Kind.JSON)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonl",
        "text/json+json",
        "application/x/y+json",
        "application/json; charset=euc-kr",
        "application/json; charset=utf-16",
        'application/json; charset=""',
        "application/json, text/plain",
    ],
)
def test_other_media_types_and_character_sets_are_refused_for_json(content_type: str) -> None:
    with pytest.raises(UnsupportedMedia):
        refuse_other_media(Headers({"content-type": content_type}), Kind.JSON)


def test_json_without_a_media_type_is_refused() -> None:
    with pytest.raises(UnsupportedMedia, match="Content-Type: application/json"):
        refuse_other_media(Headers(), Kind.JSON)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "unknown"])
def test_compressed_bodies_are_refused(kind: Kind, encoding: str) -> None:
    headers = Headers({"content-type": kind.value, "content-encoding": encoding})
    with pytest.raises(UnsupportedMedia, match="compressed"):
        refuse_other_media(headers, kind)


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "text/csv", "application/x-ndjson", "multipart/mixed"]
)
def test_a_file_outside_a_form_is_refused_with_the_way_to_send_it(content_type: str) -> None:
    with pytest.raises(UnsupportedMedia, match="curl -F file="):
        refuse_other_media(Headers({"content-type": content_type}), Kind.UPLOAD)


def test_a_form_is_read_whatever_its_boundary() -> None:
    refuse_other_media(Headers({"content-type": "Multipart/Form-Data", "content-encoding": "identity"}), Kind.UPLOAD)
