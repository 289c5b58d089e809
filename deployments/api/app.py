"""The FastAPI app of an ingress."""

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.routing import Route

from deployments.api import batches, chat, cola, files, lists, problems, qa, service, sts
from deployments.api.access import Access
from deployments.api.bodies import Bodies
from deployments.api.clients import hugging_face, openai, ranking, tei
from deployments.api.clients.openai import EmbeddingsRequest
from deployments.api.clients.tei import EmbedRequest
from deployments.api.connections import ClosesUnread, RoutePaths
from deployments.api.deadlines import CallersDeadline
from deployments.api.direct import Direct, DirectRoute
from deployments.api.document import DocumentedApp
from deployments.api.framing import NoFraming
from deployments.api.hosts import Hosts
from deployments.api.media_types import Kind
from deployments.api.request_count import CountsRequests
from deployments.api.schemas import Passage, Question, Sentences
from deployments.api.services import Services
from deployments.api.slashes import EitherSlash, other_form
from deployments.api.work_headers import WorkHeaders
from deployments.jobs.endpoints import PAIRS_FILE
from deployments.metrics.requests import Requests
from deployments.tracing.spans import recorder
from deployments.valid_keys import valid_keys

ROUTERS = (
    sts.router,
    cola.router,
    qa.router,
    lists.router,
    openai.router,
    tei.router,
    ranking.router,
    hugging_face.router,
    chat.router,
    files.router,
    batches.router,
    service.router,
)
DIRECT = {
    "/pred/sentences/": DirectRoute(sts.score_sentences, Sentences),
    "/generate": DirectRoute(cola.judge_passage, Passage),
    "/api": DirectRoute(qa.answer_question, Question),
    "/v1/embeddings": DirectRoute(openai.create_embeddings, EmbeddingsRequest),
    "/embed": DirectRoute(tei.embed_texts, EmbedRequest),
}
BODIES = {
    **dict.fromkeys([*DIRECT, "/chat/", "/v1/chat", "/v1/batches"], Kind.JSON),
    **dict.fromkeys(
        ["/", "/similarity", "/predict", "/tokenize", "/decode", "/rerank", "/v1/rerank", "/v2/rerank"], Kind.JSON
    ),
    **dict.fromkeys(["/v1/score", "/score", "/classify"], Kind.JSON),
    **dict.fromkeys(["/v1/similarity", "/v1/acceptability", "/v1/answers"], Kind.JSON),
    **dict.fromkeys(["/pred/file/", "/pred/multi/", "/pred/file/multi/"], Kind.UPLOAD),
}
"""What the body of each POST route must be."""
FOLDERS = {"/models/": Kind.JSON}
"""The same for paths that begin so and end with a name."""
STREAMED = {"/v1/files"}
"""The POST routes that read their bodies themselves."""
SWAGGER = Path(fastapi_offline.__file__).parent / "static"


def make_api(services: Services, direct: Mapping[str, DirectRoute] = DIRECT) -> FastAPI:
    """Build the app with all routes, for the given ingress. The routes in `direct` have a fast path.

    Raises ConfigError if its API keys can't be read.
    """
    app = DocumentedApp(
        title="Munjang",
        summary="Sentence models on a Ray Serve graph: similarity, acceptability, question answering, chat.",
        version=version("munjang"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.batch_endpoints = {*DIRECT, PAIRS_FILE}
    app.state.transfers = 0
    app.state.routes = [route for router in ROUTERS for route in router.routes if isinstance(route, Route)]
    app.state.paths = {form for path in _paths() for form in (path, other_form(path))}
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=service.WEB))
    app.mount("/swagger", StaticFiles(directory=SWAGGER))
    limits = services.settings.ingress
    # The last middleware that is added is the first that a request meets.
    app.add_middleware(NoFraming)
    app.add_middleware(EitherSlash, paths=["/openapi.json", *_paths()])
    app.add_middleware(WorkHeaders)
    app.add_middleware(Direct, routes=direct, services=services)
    app.add_middleware(Bodies, kinds=BODIES, folders=FOLDERS, settings=limits, streamed=STREAMED)
    keys = valid_keys(limits.access, os.environ)
    if keys is not None:
        app.add_middleware(Access, keys=keys)
    if limits.access.hosts is not None:
        app.add_middleware(Hosts, hosts=limits.access.hosts)
    app.add_middleware(CallersDeadline)
    app.add_middleware(RoutePaths)
    app.add_middleware(ClosesUnread)
    app.add_middleware(CountsRequests, requests=services.requests)
    problems.install(app)
    if tracer := recorder():
        from deployments.tracing.requests import Traced

        app.add_middleware(Traced, recorder=tracer)
    app.add_middleware(Requests, paths=[*app.state.paths, "/openapi.json"])
    return app


def _paths() -> list[str]:
    return [route.path for router in ROUTERS for route in router.routes if isinstance(route, Route)]
