"""The routes answer as their OpenAPI document says, to valid and invalid requests that Schemathesis makes from it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

from deployments.api.app import BODIES, make_api
from deployments.api.media_types import Kind
from deployments.settings import AccessSettings, IngressSettings, Settings
from pipelines.chat.request import ChatRequest, Reply
from pipelines.errors import StoreNotFound
from tests.deployments.api.conftest import ScriptedServices

pytestmark = pytest.mark.slow

load_all_checks()


class Chatting(ScriptedServices):
    """Knows one store."""

    async def chat(self, request: ChatRequest) -> Reply:
        if request.db_path != "vector_store/":
            raise StoreNotFound
        return Reply("서울이에요.", ())


UNSAID = {
    *("/predict", "/score", "/v1/score", "/v1/files", "/v1/batches"),
    *("/models/{name}", "/models/{name}/pipeline/{pipeline}"),
}
"""Where more than the form of a body decides whether it is accepted: checkpoint, task, two lists, or limits of jobs."""

SETTINGS = Settings(ingress=IngressSettings(access=AccessSettings(hosts=("testserver",))))  # Schemathesis's name for it
schema = schemathesis.openapi.from_asgi("/openapi.json", make_api(Chatting(SETTINGS)))


@schema.parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_conforms_to_the_document(case: schemathesis.Case) -> None:
    # The document can't say what the bytes of an uploaded file must be, nor which endpoints and times a job may have.
    unsaid = BODIES.get(case.path) is Kind.UPLOAD or case.path in UNSAID
    case.call_and_validate(excluded_checks=[positive_data_acceptance] if unsaid else [])
