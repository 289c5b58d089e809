from pathlib import Path

import pytest

from pipelines.errors import CheckpointDamaged, CheckpointNotFound, CheckpointUnsupported
from pipelines.format.manifest import MANIFEST, read_manifest
from pipelines.format.verify import verify
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import WEIGHTS, copy, cut


@pytest.fixture
def folder(imported: MakeCheckpoint, tmp_path: Path) -> Path:
    return copy(imported("bi-encoder"), tmp_path / "copy")


def test_a_whole_checkpoint_passes(folder: Path) -> None:
    assert verify(folder, "sts") == read_manifest(folder)


def test_the_card_may_be_written_later(folder: Path) -> None:
    (folder / "README.md").write_text("how good it is")
    verify(folder, "sts")


@pytest.mark.parametrize("name", [WEIGHTS, "1_Pooling/config.json", "tokenizer.json", "config.json", "modules.json"])
@pytest.mark.parametrize("fault", ["missing", "cut", "altered"])
def test_a_damaged_file_is_named(folder: Path, name: str, fault: str) -> None:
    path = folder / name
    content = path.read_bytes()
    if fault == "missing":
        path.unlink()
    elif fault == "cut":
        cut(path, len(content) - 1)
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointDamaged) as caught:
        verify(folder, "sts")
    assert caught.value.where == str(path)


def test_a_checkpoint_for_another_task_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointUnsupported, match="for sts, not for qa") as caught:
        verify(folder, "qa")
    assert caught.value.where == str(folder)


def test_without_a_manifest_there_is_no_checkpoint(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    with pytest.raises(CheckpointNotFound) as caught:
        verify(folder, "sts")
    assert caught.value.where == str(folder / MANIFEST)
