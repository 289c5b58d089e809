import pytest

from deployments import server_process


@pytest.mark.slow
def test_serve_is_found_where_its_environment_is_not_activated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(server_process, "dashboard_address", lambda _: "http://127.0.0.1:1")
    assert (
        server_process._failure(0) is None
    )  # no server answers there; without `serve` this would raise FileNotFoundError
