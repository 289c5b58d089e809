from pathlib import Path

import pytest
from pydantic import SecretStr

from deployments.keys import Key, hash_of, new_secret, read_keys
from pipelines.errors import ConfigError

PASTED = "sk-canary-5f3a"
HASH = "ab" * 32


def written(folder: Path, content: str) -> Path:
    path = folder / "keys.toml"
    path.write_text(content, encoding="utf-8")
    return path


def table(name: str = "page", sha256: str = HASH, scopes: str = '["infer"]', more: str = "") -> str:
    return f'[[keys]]\nname = "{name}"\nsha256 = "{sha256}"\nscopes = {scopes}\n{more}\n'


def test_a_file_lists_any_number_of_keys(tmp_path: Path) -> None:
    assert read_keys(written(tmp_path, "# none yet\n")) == ()
    content = table() + table("upload", "cd" * 32, '["upload", "admin"]', "requests_per_minute = 60")
    page, upload = read_keys(written(tmp_path, content))
    assert page == Key(name="page", sha256=HASH, scopes=frozenset({"infer"}))
    assert (upload.scopes, upload.requests_per_minute, upload.bytes_per_minute) == ({"upload", "admin"}, 60, None)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (table(sha256=PASTED), "keys.0.sha256"),  # the key itself where its hash should be
        (table(name="a b"), "keys.0.name"),
        (table(scopes="[]"), "keys.0.scopes"),
        (table(scopes='["all"]'), "keys.0.scopes"),
        (table(more="requests_per_minute = 0"), "keys.0.requests_per_minute"),
        (table(more=f'secret = "{PASTED}"'), "keys.0.secret"),
        (table() + table(sha256="cd" * 32), "the same name"),
        (table() + table("other"), "the same sha256"),
        ("[keys]\n", "keys"),
        (f"[[keys]]\nname = {PASTED}\n", "line 2"),
        ('[[keys]]\nname = "pa', "Unterminated string"),
    ],
)
def test_a_faulty_file_is_refused_without_repeating_it(tmp_path: Path, content: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as raised:
        read_keys(written(tmp_path, content))
    assert PASTED not in str(raised.value)
    assert raised.value.__suppress_context__  # the error that it is made from has the values


def test_a_file_that_is_missing_or_no_text_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        read_keys(tmp_path / "none.toml")
    (tmp_path / "keys.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"keys\.toml: is not UTF-8"):
        read_keys(tmp_path / "keys.toml")


def test_secrets_are_long_random_and_not_shown() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert len(first) >= 43
    assert first.get_secret_value() not in f"{first!r} {first}"


def test_a_hash_is_that_of_sha256sum() -> None:
    assert hash_of(SecretStr("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
