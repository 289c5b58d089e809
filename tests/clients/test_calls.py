"""Real clients of other servers, in an environment of their own (`make test-clients`), against a real server."""

from collections.abc import Callable

import pytest

from tests.clients.calls import CALLS
from tests.serve.server import Server

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("client", CALLS)
def test_a_client_that_exists_already_is_served(server: Server, run_script: Callable[..., str], client: str) -> None:
    run_script("calls.py", server.url, client)
