import os
import uuid
from pathlib import Path

import pytest

from pipelines.bulk.storage import Location
from pipelines.errors import DataNotFound


@pytest.fixture(params=["path", "file", "s3", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """A folder that does not exist yet, named by a path, by a URL of pyarrow's, or by one of fsspec's."""
    if request.param == "s3":
        request.getfixturevalue("bucket")
    names = {
        "path": f"{tmp_path}/new",
        "file": f"file://{tmp_path}/new",
        "s3": "s3://bucket/folder/new",
        "memory": f"memory://{uuid.uuid4().hex}/new",
    }
    return Location.of(names[request.param])


def test_a_file_can_be_written_listed_and_read(folder: Location) -> None:
    assert folder.names() == []
    folder.make_folder()
    folder.make_folder()  # it may be there already
    for name in ("b", "a"):
        (folder / name).write(b"content of " + name.encode())
    assert folder.names() == ["a", "b"]
    assert (folder / "a").read() == b"content of a"
    assert (folder / "a").read_range(3, 7) == b"tent"
    assert (folder / "a").read_range(8, 100) == b"of a"
    assert b"".join((folder / "a").blocks()) == b"content of a"
    (folder / "a").delete()
    assert folder.names() == ["b"]


def test_a_new_content_replaces_the_old_as_a_whole(folder: Location) -> None:
    folder.make_folder()
    (folder / "a").write(b"old")
    with (folder / "a").replacing() as stream:
        stream.write(b"new")
        assert (folder / "a").read() == b"old"
    assert (folder / "a").read() == b"new"
    assert folder.names() == ["a"]


def test_a_content_that_is_not_complete_never_gets_the_name(folder: Location) -> None:
    folder.make_folder()
    with pytest.raises(TypeError), (folder / "a").replacing() as stream:
        stream.write([b"a half", "not bytes"])  # type: ignore[arg-type]
    assert "a" not in folder.names()
    assert all(name.endswith(".partial") for name in folder.names())


def test_a_relative_path_is_portable_as_an_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location.of("here").portable == os.path.join(tmp_path, "here")
    assert Location.of("memory://x/here/").portable == "memory://x/here"


@pytest.mark.parametrize("url", ["nothing://a/b", "adl://a/b"])
def test_a_url_that_cannot_be_read_is_refused_with_its_name(url: str) -> None:
    with pytest.raises(DataNotFound, match=url):
        Location.of(url)
