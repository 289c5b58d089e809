"""Whom a server answers: the address that it listens on, and the keys that it asks for."""

import ipaddress
import os
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from deployments.keys import Key, hash_of, new_secret
from deployments.settings import AccessSettings
from deployments.valid_keys import keys_file, valid_keys
from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import ConfigError

HAPROXY = "RAY_SERVE_HAPROXY_BINARY_PATH"
SCRIPT = ROOT / "deploy" / "haproxy"
LOOPBACK = "127.0.0.1"
LAUNCHER = "munjang-serve"  # the name of the launcher's own key


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name, which may lead anywhere
        return False


def refuse_open(access: AccessSettings, host: str, environment: Mapping[str, str]) -> None:
    """Raise ConfigError for a public address without keys, unless that is allowed, and for keys that can't be read."""
    if valid_keys(access, environment) is None and not is_loopback(host) and not access.allow_anonymous:
        raise ConfigError(
            f"on the address {host}, everyone who reaches this machine could use the server; make an API key with "
            "`munjang key` (see docs/access.md), or set ingress.access.allow_anonymous: true"
        )


def haproxy_variables() -> dict[str, str]:
    """The variable by which Ray starts HAProxy with deploy/haproxy.

    Raises ConfigError if that file can't be run, unless the environment names another or no HAProxy: without the file,
    HAProxy would listen on all interfaces for statistics.
    """
    if os.access(SCRIPT, os.X_OK):
        return {HAPROXY: str(SCRIPT)}
    if uses_own_haproxy(os.environ):
        raise ConfigError(f"{SCRIPT} can't be run; make it executable, or set RAY_SERVE_ENABLE_HA_PROXY=0")
    return {}


def uses_own_haproxy(environment: Mapping[str, str]) -> bool:
    """Whether a server with these variables runs behind HAProxy, started by deploy/haproxy."""
    script = environment.get(HAPROXY, str(SCRIPT))
    return script == str(SCRIPT) and environment.get("RAY_SERVE_ENABLE_HA_PROXY") != "0"


def add_launcher_key(args: dict[str, Any], environment: Mapping[str, str]) -> SecretStr | None:
    """Where keys are configured, add one to the arguments of the graph, with which the launcher asks whether it is
    ready; return its secret. A replica that finds no other key, because its node lacks the environment, is then closed
    and not open.
    """
    access = AccessSettings.model_validate(args.get("ingress", {}).get("access", {}))
    if valid_keys(access, environment) is None:
        return None
    secret = new_secret()
    key = Key(name=LAUNCHER, sha256=hash_of(secret), scopes=frozenset({"admin"}))
    changed = access.model_copy(update={"keys": (*access.keys, key)})
    if file := keys_file(access, environment):
        changed = changed.model_copy(update={"keys_file": str(file)})
    args["ingress"] = args.get("ingress", {}) | {"access": changed.model_dump(mode="json")}
    return secret
