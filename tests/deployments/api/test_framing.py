"""No other site may frame this server's pages or read its answers."""

import pytest
from starlette.testclient import TestClient


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/", "/static/index.html"])
def test_every_page_refuses_to_be_framed(client: TestClient, path: str) -> None:
    page = client.get(path, headers={"Accept": "text/html", "Origin": "https://elsewhere.example"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY"


def test_only_the_documentation_may_run_inline_scripts(client: TestClient) -> None:
    policies = {
        path: client.get(path, headers={"Accept": "text/html"}).headers for path in ("/docs", "/static/index.html")
    }
    assert "'unsafe-inline'" in policies["/docs"]["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policies["/static/index.html"]["Content-Security-Policy"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/info"), ("POST", "/generate"), ("OPTIONS", "/generate")])
def test_no_other_origin_is_allowed(client: TestClient, method: str, path: str) -> None:
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    response = client.request(method, path, headers=asked, json={"passage": "a"})
    assert [name for name in response.headers if name.startswith("access-control")] == []
