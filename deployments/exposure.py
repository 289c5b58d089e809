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

LOOPBACK = "127.0.0.1"
LAUNCHER = "munjang-serve"  # the name of the launcher's own key


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name, which may lead anywhere
        return False


def local_url(host: str, port: int) -> str:
    """An address at which this machine reaches a server that listens on `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:  # all interfaces
        return f"http://{LOOPBACK}:{port}"
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def refuse_open(access: AccessSettings, host: str, environment: Mapping[str, str]) -> None:
    """Raise ConfigError for a public address without keys, unless that is allowed, and for keys that can't be read."""
    if valid_keys(access, environment) is None and not is_loopback(host) and not access.allow_anonymous:
        raise ConfigError(
            f"on the address {host}, everyone who reaches this machine could use the server; make an API key with "
            "`munjang key` (see docs/access.md), or set ingress.access.allow_anonymous: true"
        )


def haproxy_variables() -> dict[str, str]:
    """The variable by which Ray starts HAProxy with deploy/haproxy; none if that file can't be run."""
    script = ROOT / "deploy" / "haproxy"
    return {"RAY_SERVE_HAPROXY_BINARY_PATH": str(script)} if os.access(script, os.X_OK) else {}


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
