import json
import os
import stat
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pipelines.chat.store.file import FORMAT, STORE, StoreContent, StoreHeader, read_store, sha256, write_store
from pipelines.errors import StoreCorrupt, StoreNotFound
from tests.pipelines.chat.store.stores import make_store
from tests.pipelines.checkpoints.damage import cut


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_store(tmp_path / "notes", "고양이는 잔다.", "비가 온다.") / STORE


def assert_equal(left: StoreContent, right: StoreContent) -> None:
    for name in StoreContent.__slots__:
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


def assert_corrupt(file: Path, why: str) -> None:
    with pytest.raises(StoreCorrupt, match=why) as caught:
        read_store(file)
    assert caught.value.where == f"notes/{STORE}"  # without the machine's folders


def test_a_written_store_is_read_back(file: Path, tmp_path: Path) -> None:
    header, content = read_store(file)
    write_store(tmp_path / STORE, StoreHeader("abc", "def"), content)
    again_header, again = read_store(tmp_path / STORE)
    assert again_header == StoreHeader("abc", "def")
    assert header != again_header
    assert_equal(again, content)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound):
        read_store(tmp_path / STORE)


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.999])
def test_a_cut_file_is_corrupt(file: Path, share: float) -> None:
    cut(file, int(file.stat().st_size * share))
    assert_corrupt(file, "not a complete safetensors file")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_a_file_with_an_altered_byte_is_corrupt_or_means_the_same(file: Path, data: st.DataObject) -> None:
    before, (header, content) = file.read_bytes(), read_store(file)
    place = data.draw(st.integers(0, len(before) - 1))
    changed = data.draw(st.integers(0, 255).filter(lambda byte: byte != before[place]))
    try:
        file.write_bytes(before[:place] + bytes([changed]) + before[place + 1 :])
        again, same = read_store(file)
        assert again == header  # the case where white space of the JSON header changed
        assert_equal(same, content)
    except StoreCorrupt:
        pass
    finally:
        file.write_bytes(before)


def test_a_path_that_can_not_be_read_raises_an_os_error(tmp_path: Path) -> None:
    (tmp_path / STORE).mkdir()
    with pytest.raises(OSError, match="os error"):
        read_store(tmp_path / STORE)


def resave(file: Path, format_name: str | None = None, **changes: np.ndarray | None) -> None:
    """Save the store again with changed arrays, without those that are None, and with a matching hash."""
    with safe_open(file, framework="np") as opened:
        metadata, arrays = opened.metadata(), opened.get_tensors()
    arrays = {name: array for name, array in (arrays | changes).items() if array is not None}
    header = StoreHeader(metadata["checkpoint"], metadata["chunks"])
    metadata |= {"sha256": sha256(header, arrays)} | ({"format": format_name} if format_name else {})
    save_file(arrays, file, metadata)


@pytest.mark.parametrize(
    "changes",
    [
        {"grams": None},
        {"more": np.zeros(1)},
        {"vectors": np.zeros((2, 8), np.float64)},
        {"vectors": np.zeros((3, 8), np.float32)},
        {"vectors": np.zeros(16, np.float32)},
        {"postings": np.zeros(1, np.int32)},
        {"spans": np.zeros((2, 3), np.int32)},
        {"documents": np.array([0, 2], np.int32)},
        {"documents": np.array([-1, 0], np.int32)},
        {"text_starts": np.array([0, 9, 5], np.int64)},
        {"text_starts": np.array([0, 9, 10_000], np.int64)},
        {"names": np.frombuffer(b'["0.txt"', np.uint8)},
        {"names": np.frombuffer(b"3", np.uint8)},
        {"names": np.frombuffer(b"[1, 2]", np.uint8)},
        {"names": np.frombuffer(b'["0.txt", "\\udcff"]', np.uint8)},
        {"names": np.frombuffer(b"[" * 200_000, np.uint8)},
        {"vectors": np.full((2, 8), np.nan, np.float32)},
        {"vectors": np.full((2, 8), np.inf, np.float32)},
        {"spans": np.array([[0, 8], [-5, -9]], np.int32)},
        {"spans": np.array([[0, 8], [9, 5]], np.int32)},
        {"texts": np.full(34, 0xFF, np.uint8)},
        {"text_starts": np.array([0, 1, 34], np.int64)},
    ],
)
def test_arrays_that_do_not_fit_each_other_are_corrupt(file: Path, changes: dict[str, np.ndarray | None]) -> None:
    resave(file, **changes)
    assert_corrupt(file, "do not fit")


def test_weights_that_are_not_numbers_are_corrupt(file: Path) -> None:
    weights = read_store(file)[1].weights
    resave(file, weights=np.full_like(weights, np.nan))
    assert_corrupt(file, "do not fit")


@pytest.mark.parametrize("kind", ["F8_E4M3", "F4"])
def test_a_type_that_numpy_does_not_know_is_corrupt(file: Path, kind: str) -> None:
    bits = 8 if kind.startswith("F8") else 4
    shape = [2, 8]
    array = {"dtype": kind, "shape": shape, "data_offsets": [0, 16 * bits // 8]}
    header = json.dumps({"__metadata__": {"format": FORMAT}, "vectors": array}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16 * bits // 8))
    assert_corrupt(file, "do not fit")


def test_a_foreign_file_is_refused_before_its_arrays_are_read(file: Path) -> None:
    size = 2**40  # a sparse file: only its header takes space on the disk
    array = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    header = json.dumps({"weight": array}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    with file.open("ab") as opened:
        opened.truncate(8 + len(header) + size)
    assert_corrupt(file, "not in the format")


def test_the_file_mode_follows_the_umask(file: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_store(tmp_path / STORE, *read_store(file))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / STORE).stat().st_mode) == 0o640


def test_a_full_disk_raises_an_os_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("pipelines.chat.store.file.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        write_store(file, *read_store(file))
    assert [path.name for path in file.parent.iterdir() if path.name != ".lock"] == [STORE]


def test_another_format_version_asks_for_a_rebuild(file: Path) -> None:
    resave(file, "munjang-store-0")
    assert_corrupt(file, "build the store again")


def test_files_of_other_libraries_are_refused(file: Path) -> None:
    save_file({"weight": np.zeros(3)}, file)
    assert_corrupt(file, "not in the format")


def test_a_failed_write_keeps_the_old_store(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()
    header, content = read_store(file)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_store(file, header, content)
    assert file.read_bytes() == before
