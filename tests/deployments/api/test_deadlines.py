import asyncio
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.api.app import make_api
from deployments.settings import IngressSettings, Settings
from tests.deployments.api.conftest import URL, Scripted, ScriptedServices
from tests.deployments.api.test_problems import is_problem

BODY = {"passage": "It works."}


class Stuck(Scripted):
    cancelled = False

    async def submit(self, item: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@pytest.fixture
def stuck(services: ScriptedServices) -> Stuck:
    services.cola = Stuck(lambda _: None)
    return services.cola


@pytest.mark.parametrize(("setting", "header"), [(0.01, None), (0.01, "60"), (0.01, "inf"), (60, "0.01"), (60, "1e-2")])
def test_the_shorter_of_setting_and_header_is_the_deadline(
    services: ScriptedServices, stuck: Stuck, setting: float, header: str | None
) -> None:
    services.settings = Settings(ingress=IngressSettings(deadline_s=setting))
    begun_s = time.monotonic()
    headers = {} if header is None else {"X-Timeout-Seconds": header}
    problem = is_problem(TestClient(make_api(services), URL).post("/generate", json=BODY, headers=headers), 504)
    assert problem["detail"] == "no answer within 0.01 s"
    assert time.monotonic() - begun_s < 30
    assert stuck.cancelled


def test_a_request_that_is_in_time_is_answered(client: TestClient) -> None:
    assert client.post("/generate", json=BODY, headers={"X-Timeout-Seconds": "30"}).status_code == 200


@pytest.mark.parametrize("header", ["0", "-1", "nan", "soon", ""])
def test_a_deadline_that_is_no_time_is_400(client: TestClient, services: ScriptedServices, header: str) -> None:
    is_problem(client.post("/generate", json=BODY, headers={"X-Timeout-Seconds": header}), 400)
    assert services.cola.asked == []


def test_the_deadline_of_one_request_is_not_that_of_the_next(services: ScriptedServices, client: TestClient) -> None:
    client.post("/generate", json=BODY, headers={"X-Timeout-Seconds": "0.000001"})
    assert client.post("/generate", json=BODY).status_code == 200
