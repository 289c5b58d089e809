from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from deployments.exposure import add_launcher_key, is_loopback, refuse_open
from deployments.keys import Key, hash_of
from deployments.new_key import add_key
from deployments.settings import AccessSettings, Settings
from deployments.valid_keys import FILE_VARIABLE, KEY_VARIABLE
from pipelines.errors import ConfigError

NONE = AccessSettings()
LISTED = Key(name="page", sha256=hash_of(SecretStr("page")), scopes=frozenset({"infer"}))
LOOPBACK = ["127.0.0.1", "127.0.0.2", "::1", "localhost"]
PUBLIC = ["0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "2001:db8::1", "server.example", "localhost.example", ""]


@pytest.mark.parametrize("host", LOOPBACK)
def test_on_loopback_no_key_is_needed(host: str) -> None:
    assert is_loopback(host)
    refuse_open(NONE, host, {})


@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_address_without_keys_is_refused_unless_that_is_allowed(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match="munjang key"):
        refuse_open(NONE, host, {})
    refuse_open(AccessSettings(allow_anonymous=True), host, {})


def test_any_key_opens_a_public_address(tmp_path: Path) -> None:
    add_key(tmp_path / "keys.toml", LISTED)
    refuse_open(AccessSettings(keys=(LISTED,)), "0.0.0.0", {})
    refuse_open(AccessSettings(keys_file=str(tmp_path / "keys.toml")), "0.0.0.0", {})
    refuse_open(NONE, "0.0.0.0", {FILE_VARIABLE: str(tmp_path / "keys.toml")})
    refuse_open(NONE, "0.0.0.0", {KEY_VARIABLE: "k" * 16})


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_keys_that_can_not_be_read_are_refused_on_every_address(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        refuse_open(AccessSettings(keys_file=str(tmp_path / "none.toml"), allow_anonymous=True), host, {})
    with pytest.raises(ConfigError, match=KEY_VARIABLE):
        refuse_open(NONE, host, {KEY_VARIABLE: ""})


def test_without_keys_the_launcher_adds_none() -> None:
    args: dict[str, Any] = {"sts": {}}
    assert add_launcher_key(args, {}) is None
    assert args == {"sts": {}}


@pytest.mark.parametrize("access", [{}, {"keys": [LISTED.model_dump(mode="json")]}])
def test_the_launcher_adds_the_hash_of_its_own_key(access: dict[str, Any]) -> None:
    args: dict[str, Any] = {"ingress": {"deadline_s": 60.0, "access": access}}
    secret = add_launcher_key(args, {KEY_VARIABLE: "key of the environment"})
    assert secret is not None
    ingress = Settings.model_validate(args).ingress
    *others, launcher = ingress.access.keys
    assert (launcher.sha256, launcher.scopes) == (hash_of(secret), {"admin"})
    assert len(others) == len(access.get("keys", []))
    assert ingress.deadline_s == 60
    assert not {secret.get_secret_value(), "key of the environment"} & set(str(args).split("'"))


def test_the_graph_learns_the_file_that_the_environment_names(tmp_path: Path) -> None:
    add_key(tmp_path / "keys.toml", LISTED)
    args: dict[str, Any] = {}
    add_launcher_key(args, {FILE_VARIABLE: str(tmp_path / "keys.toml")})
    assert args["ingress"]["access"]["keys_file"] == str(tmp_path / "keys.toml")
