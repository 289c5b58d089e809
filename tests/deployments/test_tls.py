from pathlib import Path

import pytest

from deployments.tls import TLS_VARIABLE, tls_file
from pipelines.errors import ConfigError
from tests.deployments.certificates import write_certificate


@pytest.mark.parametrize("environment", [{}, {TLS_VARIABLE: ""}])
def test_without_the_variable_there_is_no_https(environment: dict[str, str]) -> None:
    assert tls_file(environment) is None


def test_the_file_is_found_from_wherever_the_server_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_certificate(tmp_path / "server.pem", "localhost")
    monkeypatch.chdir(tmp_path)
    assert tls_file({TLS_VARIABLE: "server.pem"}) == path


@pytest.mark.parametrize("kept", ["nothing", "the key", "the certificate", "neither"])
def test_a_file_without_certificate_and_key_is_refused_by_name(tmp_path: Path, kept: str) -> None:
    path = write_certificate(tmp_path / "server.pem", "localhost")
    key, separator, certificate = path.read_text().partition("-----BEGIN CERTIFICATE-----")
    match kept:
        case "nothing":
            path.unlink()
        case "the key":
            path.write_text(key)
        case "the certificate":
            path.write_text(separator + certificate)
        case _:
            path.write_text("not PEM")
    with pytest.raises(ConfigError, match=r"server\.pem has no certificate with its private key"):
        tls_file({TLS_VARIABLE: str(path)})


@pytest.mark.parametrize("other", [{"RAY_SERVE_ENABLE_HA_PROXY": "0"}, {"RAY_SERVE_HAPROXY_BINARY_PATH": "/bin/other"}])
def test_https_is_refused_where_nothing_would_offer_it(tmp_path: Path, other: dict[str, str]) -> None:
    path = write_certificate(tmp_path / "server.pem", "localhost")
    with pytest.raises(ConfigError, match="only HAProxy"):
        tls_file({TLS_VARIABLE: str(path)} | other)
