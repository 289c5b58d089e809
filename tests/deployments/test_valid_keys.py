"""Keys that change while the server runs, by a clock that only the tests turn."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from deployments.keys import Key, hash_of
from deployments.new_key import add_key
from deployments.settings import AccessSettings
from deployments.valid_keys import FILE_VARIABLE, KEY_VARIABLE, ValidKeys, keys_file, valid_keys
from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import ConfigError

NONE = AccessSettings()


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def named(name: str) -> Key:
    """A key whose secret is its name."""
    return Key(name=name, sha256=hash_of(SecretStr(name)), scopes=frozenset({"infer"}))


def found(keys: ValidKeys, *names: str) -> list[str]:
    return [name for name in names if keys.find(name.encode()) is not None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    add_key(tmp_path / "keys.toml", named("first"))
    return tmp_path / "keys.toml"


def test_a_key_is_found_by_its_secret() -> None:
    keys = ValidKeys([named("first"), named("second")])
    assert keys.find(b"second") == named("second")
    assert keys.find(b"third") is None
    assert keys.find(named("first").sha256.encode()) is None


def test_a_changed_file_counts_within_a_second(file: Path) -> None:
    clock = Clock()
    keys = ValidKeys([named("fixed")], file, clock)
    add_key(file, named("second"))
    clock.now_s = 0.9
    assert found(keys, "fixed", "first", "second") == ["fixed", "first"]
    clock.now_s = 1.0
    assert found(keys, "fixed", "first", "second") == ["fixed", "first", "second"]
    file.write_text("")
    clock.now_s = 2.0
    assert found(keys, "fixed", "first", "second") == ["fixed"]


def test_a_file_that_is_replaced_by_another_counts(file: Path, tmp_path: Path) -> None:
    clock = Clock()
    keys = ValidKeys([], file, clock)
    add_key(tmp_path / "other.toml", named("other"))
    (tmp_path / "other.toml").replace(file)
    clock.now_s = 1.0
    assert found(keys, "first", "other") == ["other"]


@pytest.mark.parametrize("broken", ["[[keys]]\nname = 'sk-canary-5f3a'\n", None])
def test_a_broken_or_missing_file_keeps_the_old_keys_and_is_logged_once(
    file: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    keys = ValidKeys([], file, clock)
    file.unlink() if broken is None else file.write_text(broken)
    for clock.now_s in (1.0, 2.0, 3.0):
        assert found(keys, "first") == ["first"]
    (record,) = caplog.records
    assert str(file) in record.getMessage()
    assert "5f3a" not in caplog.text
    file.unlink(missing_ok=True)
    add_key(file, named("second"))
    clock.now_s = 4.0
    assert found(keys, "first", "second") == ["second"]


def test_an_unchanged_file_is_not_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    keys = ValidKeys([], file, clock)
    monkeypatch.setattr("deployments.valid_keys.read_keys", lambda _: pytest.fail("read again"))
    for clock.now_s in (0.5, 5.0, 50.0):
        assert found(keys, "first") == ["first"]


def test_a_file_that_can_not_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        ValidKeys([], tmp_path / "none.toml")


def test_without_keys_and_file_there_are_no_valid_keys() -> None:
    assert valid_keys(NONE, {}) is None


def test_keys_come_from_settings_file_and_environment_together(file: Path) -> None:
    access = AccessSettings(keys_file=str(file), keys=(named("listed"),))
    keys = valid_keys(access, {KEY_VARIABLE: "key of the environment", FILE_VARIABLE: "/not/this/one"})
    assert keys is not None
    assert found(keys, "first", "listed", "key of the environment") == ["first", "listed", "key of the environment"]


@pytest.mark.parametrize("short", ["", "123456789012345"])
def test_a_short_key_in_the_environment_is_refused_and_not_repeated(short: str) -> None:
    with pytest.raises(ConfigError) as raised:
        valid_keys(NONE, {KEY_VARIABLE: short})
    assert str(raised.value) == "MUNJANG_API_KEY has fewer than 16 characters"


def test_the_setting_precedes_the_variable_and_relative_paths_start_at_the_root() -> None:
    assert keys_file(NONE, {}) is None
    assert keys_file(NONE, {FILE_VARIABLE: "keys.toml"}) == ROOT / "keys.toml"
    assert keys_file(AccessSettings(keys_file="/k.toml"), {FILE_VARIABLE: "keys.toml"}) == Path("/k.toml")
