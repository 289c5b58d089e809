import socket

import pytest

from deployments import ports


def test_a_second_server_uses_free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        first.listen()
        taken = first.getsockname()[1]
        second.bind(("127.0.0.1", 0))
        free = second.getsockname()[1]
        monkeypatch.setattr(ports, "REPLICA_PORTS", [taken, free])
        monkeypatch.setattr(ports, "FALLBACK_PORTS", [taken, free])
        monkeypatch.setattr(ports, "PORTS_EACH", 5)
        assert ports.own_ports() == {
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(free),
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(free + 4),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free),
        }


def test_servers_that_start_together_use_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as first, socket.socket() as second:
        for unused in (first, second):
            unused.bind(("127.0.0.1", 0))  # nothing listens there
        numbers = [unused.getsockname()[1] for unused in (first, second)]
        monkeypatch.setattr(ports, "REPLICA_PORTS", numbers)
        monkeypatch.setattr(ports, "FALLBACK_PORTS", numbers)
        chosen = [ports.own_ports() for _ in range(2)]
    for use in ("DIRECT_INGRESS_MIN_HTTP_PORT", "FALLBACK_PROXY_HTTP_PORT"):
        assert [own[f"RAY_SERVE_{use}"] for own in chosen] == [str(port) for port in numbers]
