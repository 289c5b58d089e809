"""What HAProxy listens on, by the configuration that Ray writes for it. HAProxy only checks it and is not started."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import ray.serve  # noqa: F401  must come before its private modules, which import each other
from ray.serve._private.haproxy import HAProxyApi, HAProxyConfig
from ray.serve.config import HTTPOptions

from deployments.api.problems import Problem
from deployments.exposure import haproxy_variables
from deployments.tls import TLS_VARIABLE
from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import ConfigError
from tests.deployments.certificates import write_certificate


def written(folder: Path, host: str, **variables: str) -> Path:
    """The configuration for a server on `host`, as deploy/haproxy leaves it and HAProxy accepts it."""
    path = folder / "haproxy.cfg"
    config = HAProxyConfig(
        http_options=HTTPOptions(host=host, port=8123),
        socket_path=str(folder / "admin.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
        metrics_socket_path=str(folder / "metrics.sock"),
    )
    HAProxyApi(config, config_file_path=str(path))._generate_config_file_internal()
    own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | haproxy_variables()
    environment = os.environ | own | variables
    subprocess.run([ROOT / "deploy" / "haproxy", "-c", "-f", path], env=environment, timeout=60, check=True)
    return path


@pytest.mark.parametrize(("host", "bound"), [("127.0.0.1", "127.0.0.1:8123"), ("0.0.0.0", "*:8123")])
def test_only_the_port_of_the_server_follows_its_host(tmp_path: Path, host: str, bound: str) -> None:
    binds = re.findall(r"^ *bind (\S+)", written(tmp_path, host).read_text(), re.MULTILINE)
    assert sorted(binds) == sorted([bound, "127.0.0.1:8404", "127.0.0.1:9101"])


def test_only_the_user_of_the_server_may_command_haproxy(tmp_path: Path) -> None:
    (socket,) = re.findall(r"^ *stats socket .*", written(tmp_path, "127.0.0.1").read_text(), re.MULTILINE)
    assert " mode 600 level admin" in socket


def test_headers_have_a_deadline_and_failures_are_problems_with_their_own_status(tmp_path: Path) -> None:
    defaults = written(tmp_path, "127.0.0.1").read_text().partition("\ndefaults")[2].partition("\nfrontend")[0]
    assert defaults.count("timeout http-request 10s") == 1
    assert "errorfile" not in defaults
    answers = re.findall(r"http-error status (\d+) content-type (\S+) string '(.*)'", defaults)
    assert [int(status) for status, _, _ in answers] == [400, 408, 500, 502, 503, 504]
    for status, kind, body in answers:
        assert kind == "application/problem+json"
        assert Problem.model_validate_json(body).status == int(status)


def test_requests_are_not_logged_and_unknown_paths_not_repeated(tmp_path: Path) -> None:
    content = written(tmp_path, "127.0.0.1").read_text()
    assert not re.search(r"^ *log .* local0 info$", content, re.MULTILINE)
    (not_found,) = re.findall(r"return status 404 content-type application/problem\+json string '(.*)'", content)
    assert Problem.model_validate_json(not_found).status == 404
    assert "%[path]" not in content


def test_a_request_whose_replica_died_is_sent_once_more_unless_it_is_a_chat(tmp_path: Path) -> None:
    content = written(tmp_path, "127.0.0.1").read_text()
    assert re.findall(r"^ *(retry-on .*|retries .*)$", content, re.MULTILINE) == [
        "retries 1",
        "retry-on conn-failure empty-response",
    ]
    frontend = content.partition("\nfrontend http_frontend")[2].partition("\nbackend")[0]
    assert "http-request disable-l7-retry if { path_beg /chat /v1/chat }" in frontend
    assert "http-request wait-for-body time 5s if" in frontend


def test_only_the_port_of_the_server_presents_the_certificate(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path / "a server.pem", "localhost")
    content = written(tmp_path, "0.0.0.0", **{TLS_VARIABLE: str(certificate)}).read_text()
    (bind,) = re.findall(r"^ *bind .* ssl .*", content, re.MULTILINE)
    assert bind.split()[1] == "*:8123"
    assert "ssl-min-ver TLSv1.2" in bind
    assert " ssl " not in written(tmp_path, "0.0.0.0").read_text()


def test_a_script_that_cannot_be_run_stops_the_start_unless_another_haproxy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.exposure.SCRIPT", tmp_path / "haproxy")
    with pytest.raises(ConfigError, match="can't be run"):
        haproxy_variables()
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", "")
    assert haproxy_variables() == {}


def test_the_launcher_names_the_script_that_starts_haproxy() -> None:
    assert haproxy_variables() == {"RAY_SERVE_HAPROXY_BINARY_PATH": str(ROOT / "deploy" / "haproxy")}
