"""Persona chat: an answer from the documents of a store, whole or as it comes."""

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

from deployments.api.limits import refuse_long
from deployments.api.problems import munjang_error, responses
from deployments.api.schemas import Chat, ChatAnswer, ChatCitation, ChatOutput
from deployments.api.services import Services, ServicesOf, deadline
from pipelines.chat.request import ChatRequest, Citation, Reply

EVENTS = "text/event-stream"
REFUSED = re.compile(r"q=0(\.0{0,3})?")
CITATIONS = "X-Citations"
MAX_HEADER_BYTES = 4096  # a proxy's buffer for all headers is 16 KiB

REFUSALS = responses(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
STREAM = {
    "description": "The answer; with `Accept: text/event-stream` in pieces as they come, each `data: "
    '{"output": piece}`, last `event: done` with the citations, or `event: error` with a problem.',
    "content": {EVENTS: {"schema": {"type": "string"}}},
}

router = APIRouter(tags=["persona chat"], responses=REFUSALS | {200: STREAM})

Accept = Annotated[str, Header(description=f"`{EVENTS}`: as a stream.")]


@router.post("/chat/", response_model=ChatOutput)
async def chat(
    body: Chat, services: ServicesOf, request: Request, response: Response, accept: Accept = ""
) -> Response | ChatOutput:
    """An answer from the documents of a store, which the header `X-Citations` names."""
    if wants_events(accept):
        return await _stream(body, services, request)
    reply = await _reply(body, services)
    response.headers[CITATIONS] = citations_header(reply.citations)
    return ChatOutput(output=reply.output)


@router.post("/v1/chat", response_model=ChatAnswer)
async def chat_with_citations(
    body: Chat, services: ServicesOf, request: Request, accept: Accept = ""
) -> Response | ChatAnswer:
    """The same, with the citations in the body."""
    if wants_events(accept):
        return await _stream(body, services, request)
    reply = await _reply(body, services)
    return ChatAnswer(output=reply.output, citations=_citations(reply))


def wants_events(accept: str) -> bool:
    """Whether an Accept header names the type of events, and not to refuse it (RFC 9110, section 12.5.1)."""
    for entry in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in entry.split(";"))
        if media_range == EVENTS:
            return not any(REFUSED.fullmatch(parameter) for parameter in parameters)
    return False


async def _reply(body: Chat, services: Services) -> Reply:
    asked = _asked(body, services)
    async with deadline(services.settings.ingress.deadline_s):
        return await services.chat(asked)


async def _stream(body: Chat, services: Services, request: Request) -> Response:
    """The answer to a request for a stream: what fails before the first piece has a status of its own."""
    pieces = services.chat_stream(_asked(body, services))
    async with deadline(services.settings.ingress.deadline_s):
        first = await anext(pieces)
    return EventStream(first, pieces, request)


def _asked(body: Chat, services: Services) -> ChatRequest:
    refuse_long("prompt", body.prompt, services.settings.chat.max_prompt_characters)
    return ChatRequest(body.prompt, body.db_path, body.api_key)


class EventStream(StreamingResponse):
    """Server-sent events of an answer's pieces. Whoever leaves before the end ends the work on it."""

    media_type = EVENTS

    def __init__(self, first: str | Reply, pieces: AsyncGenerator[str | Reply], request: Request) -> None:
        super().__init__(_events(first, pieces, request), headers={"Cache-Control": "no-store"})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        async with aclosing(self._pieces):
            await super().__call__(scope, receive, send)


async def _events(first: str | Reply, pieces: AsyncGenerator[str | Reply], request: Request) -> AsyncGenerator[bytes]:
    try:
        yield _event(first)
        async for piece in pieces:
            yield _event(piece)
    except Exception as error:  # without an event, what has come would look like the whole answer
        problem = await munjang_error(request, error)
        yield format_sse_event(event="error", data_str=bytes(problem.body).decode())


def _event(piece: str | Reply) -> bytes:
    if isinstance(piece, str):
        return format_sse_event(data_str=ChatOutput(output=piece).model_dump_json())
    done = {"citations": [citation.model_dump() for citation in _citations(piece)]}
    return format_sse_event(event="done", data_str=json.dumps(done, ensure_ascii=False))


def _citations(reply: Reply) -> list[ChatCitation]:
    return [ChatCitation(**asdict(citation)) for citation in reply.citations]


def citations_header(citations: tuple[Citation, ...]) -> str:
    """As many of them, best first, as fit, as JSON in ASCII."""
    fitting: list[dict[str, Any]] = []
    for citation in citations:
        longer = [*fitting, asdict(citation)]
        if len(json.dumps(longer)) > MAX_HEADER_BYTES:
            break
        fitting = longer
    return json.dumps(fitting)
