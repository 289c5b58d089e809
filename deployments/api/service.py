"""Routes of the service itself: the page, the documentation of the routes, and the state of the graph."""

from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Header, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from typing_extensions import TypedDict

from deployments.api.deadlines import Deadline
from deployments.api.items import MOST_ITEMS
from deployments.api.services import Services, ServicesOf
from deployments.live_graph import DeploymentReport

WEB = Path(__file__).parents[1] / "web"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DOCS_POLICY = PAGE_POLICY.replace("'self';", "'self' 'unsafe-inline';", 2)  # Swagger UI starts from an inline script

INFO_DEADLINE_S = 5.0

router = APIRouter(tags=["service"])


class Graph(TypedDict):
    """The picture of the graph."""

    deployments: list[DeploymentReport]


@router.get("/", include_in_schema=False)
async def root(accept: str = Header("")) -> Response:
    """The page for browsers. Other clients get the same JSON as from the root of the original chat service."""
    headers = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"}
    if "text/html" in accept:
        return FileResponse(WEB / "index.html", headers=headers | {"Content-Security-Policy": PAGE_POLICY})
    return JSONResponse({"Hello": "World"}, headers=headers)


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """Swagger UI, from assets that the ingress serves itself."""
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Munjang",
        swagger_js_url="/swagger/swagger-ui-bundle.js",
        swagger_css_url="/swagger/swagger-ui.css",
        swagger_favicon_url="/swagger/favicon.png",
    )
    page.headers["Content-Security-Policy"] = DOCS_POLICY
    return page


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answers 200 while this process is alive."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "A deployment is not ready"}})
async def readyz(services: ServicesOf, response: Response) -> dict[str, Any]:
    """Whether every deployment has a running replica, or needs none without requests, and which ones are not ready."""
    deployments = await services.readiness()
    ready = bool(deployments) and all(deployments.values())
    response.status_code = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return {"ready": ready, "deployments": deployments}


@router.get("/v1/graph")
async def graph(services: ServicesOf, response: Response) -> Graph:
    """Every deployment, with its replicas: how busy they are, what waits there, their batches, and the calls they made.

    Counts are sums since the start of a replica; ask twice to see what happened in between.
    """
    response.headers["Cache-Control"] = "no-store"
    async with Deadline(INFO_DEADLINE_S):
        return {"deployments": await services.graph()}


@router.get("/info")
async def info(services: ServicesOf) -> dict[str, Any]:
    """By task that does not sleep: checkpoint, kind, scores, limits, threshold, engine and package versions.

    Beside them, the fields of text-embeddings-inference, for the similarity model.
    """
    async with Deadline(INFO_DEADLINE_S):
        tasks = await services.describe()
    return {"munjang": version("munjang"), "tasks": tasks} | tei_info(services, tasks.get("sts", {}))


def tei_info(services: Services, model: dict[str, Any]) -> dict[str, Any]:
    """What text-embeddings-inference says about its model."""
    settings = services.settings
    kind = "embedding" if model.get("kind") != "cross-encoder" else "reranker"
    return {
        "model_id": model.get("name"),
        "model_sha": model.get("digest"),
        "model_dtype": model.get("engine"),
        "model_type": {kind: {}},
        "max_concurrent_requests": settings.ingress.max_requests,
        "max_input_length": model.get("max_tokens"),
        "max_batch_tokens": settings.sts.batch.max_tokens,
        "max_client_batch_size": MOST_ITEMS,
        "auto_truncate": True,
        "version": version("munjang"),
    }
