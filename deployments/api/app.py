"""The FastAPI app of an ingress."""

import os
from importlib.metadata import version
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.routing import Route

from deployments.api import chat, cola, problems, qa, service, sts
from deployments.api.access import Access
from deployments.api.direct import Direct, DirectRoute
from deployments.api.framing import NoFraming
from deployments.api.limits import BodyLimit
from deployments.api.schemas import Passage, Question, Sentences
from deployments.api.services import Services
from deployments.api.slashes import EitherSlash
from deployments.valid_keys import valid_keys

ROUTERS = (sts.router, cola.router, qa.router, chat.router, service.router)
DIRECT = {
    "/pred/sentences/": DirectRoute(sts.score_sentences, Sentences),
    "/generate": DirectRoute(cola.judge_passage, Passage),
    "/api": DirectRoute(qa.answer_question, Question),
}
SWAGGER = Path(fastapi_offline.__file__).parent / "static"


def make_api(services: Services) -> FastAPI:
    """Build the app with all routes, for the given ingress. Raises ConfigError if its API keys can't be read."""
    app = FastAPI(
        title="Munjang",
        summary="Sentence models on a Ray Serve graph: similarity, acceptability, question answering, chat.",
        version=version("munjang"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=service.WEB))
    app.mount("/swagger", StaticFiles(directory=SWAGGER))
    problems.install(app)
    limits = services.settings.ingress
    app.add_middleware(NoFraming)
    app.add_middleware(BodyLimit, max_body_bytes=limits.max_body_bytes, max_upload_bytes=limits.max_upload_bytes)
    app.add_middleware(EitherSlash, paths=["/openapi.json", *_paths()])
    app.add_middleware(Direct, routes=DIRECT, services=services, max_body_bytes=limits.max_body_bytes)
    if keys := valid_keys(limits.access, os.environ):
        app.add_middleware(Access, keys=keys)  # the last one added is the first that a request meets
    return app


def _paths() -> list[str]:
    return [route.path for router in ROUTERS for route in router.routes if isinstance(route, Route)]
