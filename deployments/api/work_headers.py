"""Headers that say what was done for a request: those of text-embeddings-inference, and the project's own.

Times are whole milliseconds, as there, and means over the items of the request.
"""

import asyncio
import operator
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.api.deadlines import begun_s
from deployments.api.slashes import other_form
from deployments.calls.request_work import REQUEST, CallWork, RequestWork
from pipelines.engines.model_stage import Work

RawHeaders = list[tuple[bytes, bytes]]

FEW = {form for path in ("/pred/sentences/", "/generate", "/api") for form in (path, other_form(path))}
"""Where answers have only four of the headers: all of them would add a tenth to the ingress's time for a request."""


class WorkHeaders:
    """ASGI middleware inside `CallersDeadline`: adds the headers to answers for which a model worked."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        work = RequestWork()
        REQUEST.set(work)

        async def describing(message: Message) -> None:
            if work.calls and message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers_of(work, scope["path"])]
            await send(message)

        await self._app(scope, receive, describing)


def headers_of(work: RequestWork, path: str) -> RawHeaders:
    """The headers of an answer to a request to `path`, for which there was at least one call."""
    call, items, queue_s = work.calls[0] if len(work.calls) == 1 else _combined(work.calls)
    _, ran_s, batch_items, padding = call.work
    replica, engine, checkpoint = call.place or ("", "", "")
    headers = [
        (b"x-queue-time", b"%d" % (1000 * queue_s / items)),
        (b"x-inference-time", b"%d" % (1000 * ran_s)),
        (b"x-munjang-batch-size", b"%d" % (batch_items + 0.5)),
        (b"x-munjang-replica", replica.encode()),
    ]
    if path in FEW:
        return headers
    total = b"%d" % (1000 * (asyncio.get_running_loop().time() - begun_s()))
    return [
        *headers,
        (b"x-total-time", total),
        (b"x-compute-time", total),
        (b"x-tokenization-time", b"%d" % (1000 * call.tokenized_s)),
        (b"x-compute-characters", b"%d" % work.characters),
        (b"x-compute-tokens", b"%d" % work.tokens),
        (b"x-compute-type", engine.encode()),
        (b"x-munjang-padding", b"%.2f" % padding),
        (b"x-munjang-checkpoint", checkpoint.encode()),
    ]


def _combined(calls: Sequence[tuple[CallWork, int, float]]) -> tuple[CallWork, int, float]:
    """Several calls as one, with the means over their items; its place is that of the last of them."""
    items = sum(count for _, count, _ in calls)
    by_field = zip(*(call.work for call, _, _ in calls), strict=True)
    counts = [count for _, count, _ in calls]
    means = (sum(map(operator.mul, values, counts)) / items for values in by_field)
    tokenized_s = sum(count * call.tokenized_s for call, count, _ in calls) / items
    return CallWork(0.0, tokenized_s, Work(*means), calls[-1][0].place), items, sum(queue_s for *_, queue_s in calls)
