import stat
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from deployments.__main__ import main
from deployments.keys import hash_of, read_keys


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def munjang_key(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["munjang", "key", *words])
    return main()


def test_a_key_is_shown_once_and_only_its_hash_is_stored(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert munjang_key(monkeypatch, str(file), "--name", "page", "--scopes", "upload", "infer") == 0
    shown = capsys.readouterr()
    secret = shown.out.removesuffix("\n")
    (key,) = read_keys(file)
    assert key.sha256 == hash_of(SecretStr(secret))
    assert (key.name, key.scopes) == ("page", {"infer", "upload"})
    assert secret not in shown.err + file.read_text()


def test_only_the_owner_may_read_a_new_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    munjang_key(monkeypatch, str(file), "--name", "page", "--scopes", "infer")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_is_added_below_the_others(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("# the keys of our server")  # without a line break at its end
    munjang_key(monkeypatch, str(file), "--name", "page", "--scopes", "infer")
    quotas = ("--requests-per-minute", "60", "--bytes-per-minute", "1000000")
    munjang_key(monkeypatch, str(file), "--name", "batch", "--scopes", "admin", *quotas)
    page, batch = read_keys(file)
    assert (page.requests_per_minute, batch.requests_per_minute, batch.bytes_per_minute) == (None, 60, 1_000_000)
    assert file.read_text().startswith("# the keys of our server\n")


def test_a_second_key_of_a_name_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for status in (0, 1):
        assert munjang_key(monkeypatch, str(file), "--name", "page", "--scopes", "infer") == status
    assert "has a key page already" in capsys.readouterr().err
    assert len(read_keys(file)) == 1


def test_a_file_that_can_not_be_read_is_left_as_it_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("[[keys]]\n")
    assert munjang_key(monkeypatch, str(file), "--name", "page", "--scopes", "infer") == 1
    assert file.read_text() == "[[keys]]\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--name", "a b", "--scopes", "infer"), "name"),
        (("--name", "page", "--scopes", "all"), "scopes"),
        (("--name", "page", "--scopes", "infer", "--requests-per-minute", "0"), "requests_per_minute"),
        (("--name", "page"), "scopes"),
    ],
)
def test_wrong_options_make_no_file(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    why: str,
) -> None:
    with pytest.raises(SystemExit, match="2"):
        munjang_key(monkeypatch, str(file), *words)
    assert why in capsys.readouterr().err
    assert not file.exists()
