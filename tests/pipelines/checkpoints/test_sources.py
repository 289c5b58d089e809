import stat
import zipfile
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from pipelines.checkpoints import sources
from pipelines.checkpoints.sources import errors_naming, fetch
from pipelines.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointNotFound,
    CheckpointUnsafe,
    CheckpointUnsupported,
)


def archive(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, text in members.items():
            zipped.writestr(name, text)
    return path


def test_a_folder_is_used_in_place(tmp_path: Path) -> None:
    with fetch(str(tmp_path)) as fetched:
        assert (fetched.folder, fetched.name, fetched.revision) == (tmp_path, tmp_path.name, None)


@pytest.mark.parametrize("prefix", ["", "model/"])
def test_a_zip_is_unpacked_until_the_context_ends(tmp_path: Path, prefix: str) -> None:
    members = {f"{prefix}config.json": "{}", f"{prefix}1_Pooling/config.json": "{}", "__MACOSX/junk": ""}
    with fetch(str(archive(tmp_path / "encoder.zip", **members))) as fetched:
        assert fetched.name == "encoder"
        assert (fetched.folder / "config.json").read_text() == "{}"
        assert (fetched.folder / "1_Pooling" / "config.json").is_file()
        unpacked = fetched.folder
    assert not unpacked.exists()


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out", "\\out", "a\\..\\..\\out", "C:/../out"])
def test_entries_outside_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointUnsafe, match=r"evil\.zip"), fetch(str(archive(tmp_path / "evil.zip", **{name: "x"}))):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["evil.zip"]


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("vocab.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as zipped:
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(CheckpointUnsafe), fetch(str(tmp_path / "evil.zip")):
        pass


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST_ZIP_BYTES", 1000)
    with fetch(str(archive(tmp_path / "small.zip", a="x" * 500, b="x" * 500))):
        pass
    with pytest.raises(CheckpointUnsafe, match="1000 bytes"), fetch(str(archive(tmp_path / "big.zip", a="x" * 1001))):
        pass


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_truncated_zip_is_damaged(tmp_path: Path, share: float) -> None:
    path = archive(tmp_path / "cut.zip", **{"config.json": "{}" * 99})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CheckpointDamaged, match=r"cut\.zip"), fetch(str(path)):
        pass


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_altered_zip_is_damaged(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "altered.zip"
    with zipfile.ZipFile(path, "w", compression) as zipped:
        zipped.writestr("config.json", " ".join(map(str, range(999))))
    content = bytearray(path.read_bytes())
    content[60:70] = bytes(10)
    path.write_bytes(content)
    with pytest.raises(CheckpointDamaged, match=r"altered\.zip"), fetch(str(path)):
        pass


def test_a_zip_with_a_password_is_damaged(tmp_path: Path) -> None:
    path = archive(tmp_path / "locked.zip", **{"config.json": "{}"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    content[6] |= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointDamaged, match=r"locked\.zip"), fetch(str(path)):
        pass


@pytest.mark.parametrize(("name", "writer"), [("model.gguf", "llama.cpp"), ("tf_model.h5", "Keras")])
def test_weights_of_other_libraries_are_refused_by_the_library(tmp_path: Path, name: str, writer: str) -> None:
    (tmp_path / name).write_bytes(b"GGUF")
    with (
        pytest.raises(CheckpointUnsupported, match=f"a file of {writer}; load it with transformers"),
        fetch(str(tmp_path / name)),
    ):
        pass


def test_a_source_that_does_not_exist_is_not_found(tmp_path: Path) -> None:
    for source in ("owner/name", "not an id", str(tmp_path / "nowhere"), "owner/name@revision", ""):
        if source:
            with pytest.raises(CheckpointNotFound) as caught, fetch(source):
                pass
            assert caught.value.where == source


def test_a_hub_that_does_not_answer_raises_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(sources, "HfApi", lambda: HfApi(endpoint="http://127.0.0.1:9"))  # no server listens there
    with pytest.raises(CheckpointNotFound, match="ConnectError"), fetch("owner/name"):
        pass


def test_errors_name_the_zip_instead_of_the_unpacked_folder(tmp_path: Path) -> None:
    path = archive(tmp_path / "encoder.zip", **{"config.json": "{}"})
    with pytest.raises(CheckpointDamaged) as caught, fetch(str(path)) as fetched:
        raise CheckpointDamaged(str(fetched.folder / "config.json"), "cut")
    assert caught.value.args == (f"{path}/config.json", "cut")


def test_errors_that_name_other_paths_stay_unchanged(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught, errors_naming("source", tmp_path):
        raise CheckpointError("elsewhere", "why")
    assert caught.value.args == ("elsewhere", "why")
