"""The environment variables with which `munjang serve` starts a server."""

import os
import sys
from pathlib import Path

from deployments.exposure import haproxy_variables
from deployments.ports import own_ports
from deployments.tls import TLS_VARIABLE, tls_file
from pipelines.checkpoints.resolve import ROOT

LAUNCHED_HERE = {
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",  # no balancer outside has to notice the end
}
"""Variables of a server on this machine alone. Those of clusters, too, are in deploy/serve.env."""


def server_environment() -> dict[str, str]:
    """The server's variables: those of this process, with those of deploy/serve.env and ports of its own where this
    process has none, and with the programs of this Python environment first in the path. Raises ConfigError.
    """
    lines = (ROOT / "deploy" / "serve.env").read_text(encoding="utf-8").splitlines()
    shared = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    own = {"PATH": search_path()}
    if certificate := tls_file(os.environ):
        own[TLS_VARIABLE] = str(certificate)
    return shared | LAUNCHED_HERE | own_ports() | haproxy_variables() | os.environ | own


def search_path() -> str:
    """The search path with the programs of this Python environment first: nobody has to activate it."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
