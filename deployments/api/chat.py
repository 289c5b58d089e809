"""Persona chat: an answer from the documents of a store, whole or as a stream of pieces."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from deployments.api.deadlines import Deadline
from deployments.api.limits import refuse_long
from deployments.api.problems import munjang_error, responses
from deployments.api.schemas import Chat, ChatAndPassages, ChatAnswer, ChatCitation, ChatOutput, ChatPassage
from deployments.api.services import Services, ServicesOf
from pipelines.chat.request import ChatRequest, Citation, Reply

EVENTS = "text/event-stream"
ZERO_QUALITY = re.compile(r"q=0(\.0{0,3})?")
CITATIONS = "X-Citations"
MAX_HEADER_BYTES = 4096  # a proxy's buffer for all headers is 16 KiB

REFUSALS = responses(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
STREAM = {
    "description": "The answer. With `Accept: text/event-stream` it is a stream of pieces, each `data: "
    '{"output": piece}`. The last event is `event: done` with the citations, or `event: error` with a problem.',
    "content": {EVENTS: {"schema": {"type": "string"}}},
}

router = APIRouter(tags=["persona chat"], responses=REFUSALS | {200: STREAM})

Accept = Annotated[str, Header(description=f"`{EVENTS}`: the answer is a stream.")]


@router.post("/chat/", response_model=ChatOutput)
async def chat(
    body: Chat, services: ServicesOf, request: Request, response: Response, accept: Accept = ""
) -> Response | ChatOutput:
    """An answer from the documents of a store. The header `X-Citations` has the places that it is taken from."""
    if wants_events(accept):
        return await _stream(body, services, request)
    reply = await _reply(body, services)
    response.headers[CITATIONS] = citations_header(reply.citations)
    return ChatOutput(output=reply.output)


@router.post("/v1/chat", response_model=ChatAnswer, response_model_exclude_unset=True)
async def chat_with_citations(
    body: ChatAndPassages, services: ServicesOf, request: Request, accept: Accept = ""
) -> Response | ChatAnswer:
    """An answer from the documents of a store, with the citations in the body."""
    if wants_events(accept):
        return await _stream(body, services, request, passages=body.passages)
    reply = await _reply(body, services)
    return ChatAnswer(output=reply.output, citations=_citations(reply, passages=body.passages))


def wants_events(accept: str) -> bool:
    """Whether an Accept header names the event-stream type with a quality above 0 (RFC 9110, section 12.5.1)."""
    for entry in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in entry.split(";"))
        if media_range == EVENTS:
            return not any(ZERO_QUALITY.fullmatch(parameter) for parameter in parameters)
    return False


async def _reply(body: Chat, services: Services) -> Reply:
    chat_request = _chat_request(body, services)
    async with Deadline(services.settings.ingress.deadline_s):
        return await services.chat(chat_request)


async def _stream(body: Chat, services: Services, request: Request, *, passages: bool = False) -> Response:
    """Start a stream. An error before the first piece is an ordinary error answer with its own status."""
    pieces = services.chat_stream(_chat_request(body, services))
    async with Deadline(services.settings.ingress.deadline_s):
        first = await anext(pieces)
    return EventStream(first, pieces, request, passages=passages)


def _chat_request(body: Chat, services: Services) -> ChatRequest:
    refuse_long("prompt", body.prompt, services.settings.chat.max_prompt_characters)
    return ChatRequest(body.prompt, body.db_path, body.api_key)


class EventStream(StreamingResponse):
    """Sends the pieces of an answer as server-sent events. If the client disconnects, the answer is cancelled."""

    media_type = EVENTS

    def __init__(
        self, first: str | Reply, pieces: AsyncGenerator[str | Reply], request: Request, *, passages: bool
    ) -> None:
        super().__init__(_events(first, pieces, request, passages=passages), headers={"Cache-Control": "no-store"})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        async with aclosing(self._pieces):
            await super().__call__(scope, receive, send)


async def _events(
    first: str | Reply, pieces: AsyncGenerator[str | Reply], request: Request, *, passages: bool
) -> AsyncGenerator[bytes]:
    try:
        yield _event(first, passages=passages)
        async for piece in pieces:
            yield _event(piece, passages=passages)
    except Exception as error:  # without an error event, the pieces so far would look like the whole answer
        problem = await munjang_error(request, error)
        yield format_sse_event(event="error", data_str=bytes(problem.body).decode())


def _event(piece: str | Reply, *, passages: bool) -> bytes:
    if isinstance(piece, str):
        return format_sse_event(data_str=ChatOutput(output=piece).model_dump_json())
    citations = _citations(piece, passages=passages)
    done = {"citations": [citation.model_dump(exclude_unset=True) for citation in citations]}
    return format_sse_event(event="done", data_str=json.dumps(done, ensure_ascii=False))


def _citations(reply: Reply, *, passages: bool) -> list[ChatCitation]:
    citations = [ChatCitation(**asdict(citation)) for citation in reply.citations]
    if passages:
        for citation, passage in zip(citations, reply.passages, strict=True):
            citation.passage = ChatPassage(start=passage.start, end=passage.end, text=passage.text)
    return citations


def citations_header(citations: tuple[Citation, ...]) -> str:
    """As many citations as fit into `MAX_HEADER_BYTES`, best first, as JSON in ASCII."""
    fitting: list[dict[str, Any]] = []
    for citation in citations:
        longer = [*fitting, asdict(citation)]
        if len(json.dumps(longer)) > MAX_HEADER_BYTES:
            break
        fitting = longer
    return json.dumps(fitting)
