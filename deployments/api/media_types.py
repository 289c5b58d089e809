"""Refuse requests whose headers name a media type, character set or compression that the route does not read."""

import re
from email.message import Message
from enum import Enum

from starlette.datastructures import Headers

from pipelines.errors import UnsupportedMedia

COMMON_JSON = {"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"}
JSON_SUFFIX = re.compile(r"application/[^/\s]+\+json")  # RFC 6839
UTF8 = {"utf-8", "utf8", "us-ascii"}


class Kind(Enum):
    """What the body of a request must be."""

    JSON = "application/json"
    UPLOAD = "multipart/form-data"


def refuse_other_media(headers: Headers, kind: Kind) -> None:
    """Raise UnsupportedMedia unless the headers describe an uncompressed body of this kind, in UTF-8."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMedia("the body is compressed; send it without Content-Encoding")
    named = headers.get("content-type", "")
    if kind is Kind.JSON and named.lower() in COMMON_JSON:
        return
    media_type, charset = _parse(named)
    if not _is(kind, media_type):
        raise UnsupportedMedia(_wanted(kind, media_type))
    if kind is Kind.JSON and charset not in UTF8:
        raise UnsupportedMedia("the body must be in UTF-8")


def _parse(named: str) -> tuple[str, str]:
    """The media type and the character set of a Content-Type header, in lower case; "" for no media type."""
    message = Message()
    message["Content-Type"] = named
    media_type = named.split(";", 1)[0].strip().lower()
    return media_type, str(message.get_param("charset", "utf-8")).lower()


def _is(kind: Kind, media_type: str) -> bool:
    return media_type == kind.value or (kind is Kind.JSON and JSON_SUFFIX.fullmatch(media_type) is not None)


def _wanted(kind: Kind, media_type: str) -> str:
    if kind is Kind.JSON:
        return "the body must be JSON; send it with Content-Type: application/json"
    name = "Send" if not media_type else "The body of this route is a form: send"
    return f"{name} the file as the field `file` of a multipart/form-data form (curl -F file=@pairs.json)"
