import asyncio
from collections.abc import AsyncIterator, Sequence

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.chat.event_stream import event_data

WAIT_S = 10
LINES = [
    "data: 안녕",
    "data:🙂",
    "data:  two spaces",
    "data",
    ": a comment",
    "event: ping",
    "id: 7",
    "other: x",
    "",
    "",
]


async def body(parts: Sequence[bytes], then: Exception | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if then:
        raise then


async def read(content: AsyncIterator[bytes], media_type: str = "text/event-stream") -> list[str]:
    response = httpx2.Response(200, headers={"Content-Type": media_type}, content=content)
    response.request = httpx2.Request("POST", "http://provider")
    return [data async for data in event_data(response, end="[DONE]")]


def data_of(*parts: bytes) -> list[str]:
    return asyncio.run(read(body(parts)))


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        ("data: one\n\ndata: two\n\n", ["one", "two"]),
        ("data:one\n\ndata:  two\n\n", ["one", " two"]),
        ("data: one\r\n\r\ndata: two\r\n\r\n", ["one", "two"]),
        ("data: one\r\rdata: two\r\r", ["one", "two"]),
        ("data: one\ndata: two\n\n", ["one\ntwo"]),
        (": a comment\n\nevent: ping\nid: 1\nretry: 2\nother: 3\ndata: one\n\n", ["one"]),
        ("event: ping\n\ndata\n\n", []),
        ("\ufeffdata: one\n\n", ["one"]),
        ("data: a\u2028b\u0085c\n\n", ["a\u2028b\u0085c"]),
        ("data: one\n\ndata: no blank line after this", ["one"]),
        ("data: one\n\ndata: [DONE]\n\ndata: two\n\n", ["one"]),
        ("", []),
    ],
)
def test_events_are_read_as_the_html_standard_says(stream: str, data: list[str]) -> None:
    assert data_of(stream.encode()) == data


@given(st.lists(st.sampled_from(LINES)), st.sampled_from(["\n", "\r", "\r\n"]), st.data())
def test_the_parts_in_which_a_stream_arrives_change_nothing(
    lines: list[str], line_end: str, draw: st.DataObject
) -> None:
    stream = "".join(line + line_end for line in lines).encode()
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(stream)))))
    parts = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert data_of(*parts) == data_of(stream)


def test_a_stream_with_the_wrong_media_type_is_read_as_utf_8() -> None:
    stream = body(["data: 안녕\n\n".encode()])
    assert asyncio.run(read(stream, "text/plain; charset=iso-8859-1")) == ["안녕"]


def test_after_the_last_event_the_response_is_read_to_its_end() -> None:
    unread = [b"more", b"data: [DONE]\n\n"]

    async def parts() -> AsyncIterator[bytes]:
        while unread:
            yield unread.pop()

    assert asyncio.run(read(parts())) == []
    assert unread == []


def test_an_error_after_the_last_event_is_ignored() -> None:
    assert asyncio.run(read(body([b"data: one\n\ndata: [DONE]\n\n"], httpx2.ReadError("broken")))) == ["one"]


def test_an_error_before_the_last_event_is_raised() -> None:
    with pytest.raises(httpx2.ReadError):
        asyncio.run(read(body([b"data: one\n\n"], httpx2.ReadError("broken"))))


def test_a_response_that_stays_open_after_the_last_event_is_left() -> None:
    async def open_forever() -> AsyncIterator[bytes]:
        yield b"data: one\n\ndata: [DONE]\n\n"
        await asyncio.Event().wait()

    assert asyncio.run(asyncio.wait_for(read(open_forever()), WAIT_S)) == ["one"]
