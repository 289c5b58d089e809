import json
from pathlib import Path

import pytest

from pipelines.errors import CheckpointDamaged, CheckpointNotFound, CheckpointUnsupported
from pipelines.format.manifest import (
    DERIVED,
    MANIFEST,
    Golden,
    Manifest,
    Prompts,
    Training,
    hash_files,
    read_manifest,
    verify,
    write_manifest,
)
from pipelines.format.windows import WindowOverrides, WindowSettings
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import WEIGHTS, copy, cut

FULL = Manifest(
    name="한국어 encoder",
    task="sts",
    kind="bi-encoder",
    base_model="owner/name",
    revision="0" * 40,
    training=Training(data=["KLUE-STS"], seed=7, command="python -m pipelines.sts.train my-sts", minutes=1.5),
    scores={"pearson": 0.1 + 0.2},
    max_tokens=128,
    threshold=0.6,
    golden=[Golden(inputs=("가", "나"), output=1 / 7), Golden(inputs=("가", "다"), output="1998")],
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text("{}")
    (tmp_path / "weights").write_bytes(b"abc")
    (tmp_path / "README.md").write_text("a card")
    return tmp_path


def test_a_written_manifest_is_read_with_the_same_digest(folder: Path) -> None:
    written = write_manifest(folder, FULL)
    assert read_manifest(folder) == written
    assert read_manifest(folder).digest == written.digest
    assert written.ref.digest == written.digest
    assert isinstance(read_manifest(folder).golden[1].output, str)


def test_every_file_except_the_manifest_and_the_card_is_hashed(folder: Path) -> None:
    files = write_manifest(folder, FULL).files
    assert list(files) == ["1_Pooling/config.json", "weights"]
    assert files["weights"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_files(folder) == files


def test_the_digest_depends_on_the_threshold_and_the_files(folder: Path) -> None:
    digest = write_manifest(folder, FULL).digest
    assert write_manifest(folder, FULL.model_copy(update={"threshold": 0.7})).digest != digest
    (folder / "weights").write_bytes(b"abd")
    assert write_manifest(folder, FULL).digest != digest


def test_the_digest_does_not_depend_on_graphs_but_their_hashes_are_checked(folder: Path) -> None:
    digest = write_manifest(folder, FULL).digest
    for name in sorted(DERIVED):
        (folder / name).write_bytes(b"a graph")
        written = write_manifest(folder, FULL.model_copy(update={"untraced": "no memory"}))
        assert name in written.files
        assert written.digest == digest
        (folder / name).write_bytes(b"another")
        with pytest.raises(CheckpointDamaged, match="SHA-256") as caught:
            verify(folder, "sts")
        assert caught.value.where == str(folder / name)
        (folder / name).unlink()
    (folder / "1_Pooling" / "model.onnx").write_bytes(b"imported, not derived")
    assert write_manifest(folder, FULL).digest != digest


def test_the_digest_depends_on_the_prompts(folder: Path) -> None:
    digests = {
        write_manifest(folder, FULL.model_copy(update={"prompts": prompts})).digest
        for prompts in (Prompts(), Prompts(symmetric="a"), Prompts(query="a"), Prompts(document="a"))
    }
    assert len(digests) == 4


def test_a_manifest_without_prompts_is_read_and_keeps_its_digest(folder: Path) -> None:
    written = json.loads(FULL.model_dump_json())
    del written["prompts"]
    (folder / MANIFEST).write_text(json.dumps(written), encoding="utf-8")
    assert read_manifest(folder) == FULL
    assert read_manifest(folder).digest == "77d0c506c3d20784"  # computed before manifests had prompts


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(CheckpointNotFound) as caught:
            read_manifest(folder)
        assert caught.value.where == str(folder / MANIFEST)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"training": {"data": [], "seed": 1, "command": "", "minutes": 1, "hours": 2}}, r"training\.hours"),
        ({"task": "translation"}, "task"),
        ({"format": 2}, "format"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"golden": [{"inputs": ["a"]}]}, r"golden\.0\.output"),
        ({"name": ""}, "name"),
    ],
)
def test_an_invalid_manifest_is_refused_and_the_field_is_named(
    folder: Path, change: dict[str, object], named: str
) -> None:
    content = json.loads(FULL.model_dump_json()) | change
    (folder / MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointDamaged, match=named) as caught:
        read_manifest(folder)
    assert caught.value.where == str(folder / MANIFEST)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_manifest_that_is_not_a_json_object_is_damaged(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(CheckpointDamaged):
        read_manifest(folder)


WINDOWS = WindowSettings(max_seq_length=384, doc_stride=128)


def test_windows_change_the_digest_and_a_manifest_without_windows_keeps_its_digest(folder: Path) -> None:
    extractor = Manifest(name="QA", task="qa", kind="extractor", max_tokens=512, threshold=None)
    assert extractor.digest == "1979c44780dc82ca"
    with_windows = write_manifest(folder, extractor.model_copy(update={"windows": WINDOWS}))
    assert read_manifest(folder).windows == WINDOWS
    assert with_windows.digest != write_manifest(folder, extractor).digest


@pytest.mark.parametrize(
    ("own", "overrides", "expected"),
    [
        (None, None, WindowSettings()),
        (WINDOWS, None, WINDOWS),
        (WINDOWS, WindowOverrides(), WINDOWS),
        (WINDOWS, WindowOverrides(doc_stride=64), WindowSettings(max_seq_length=384, doc_stride=64)),
        (WINDOWS, WindowOverrides(max_answer_length=200), WINDOWS.model_copy(update={"max_answer_length": 200})),
        (None, WindowOverrides(max_answer_length=9), WindowSettings(max_answer_length=9)),
    ],
)
def test_overrides_replace_the_windows_of_the_checkpoint(
    own: WindowSettings | None, overrides: WindowOverrides | None, expected: WindowSettings
) -> None:
    manifest = Manifest(name="QA", task="qa", kind="extractor", threshold=None, windows=own)
    assert manifest.windows_with(overrides) == expected


def test_overrides_that_do_not_fit_the_windows_of_the_checkpoint_are_refused() -> None:
    own = WindowSettings(max_seq_length=384, max_answer_length=200)
    manifest = Manifest(name="QA", task="qa", kind="extractor", threshold=None, windows=own)
    with pytest.raises(CheckpointUnsupported, match=r"qa\.windows .*max_seq_length has no room"):
        manifest.windows_with(WindowOverrides(max_seq_length=128))


@pytest.fixture
def whole(imported: MakeCheckpoint, tmp_path: Path) -> Path:
    return copy(imported("bi-encoder"), tmp_path / "copy")


def test_an_intact_checkpoint_passes(whole: Path) -> None:
    assert verify(whole, "sts") == read_manifest(whole)


def test_the_card_may_change_after_the_manifest_is_written(whole: Path) -> None:
    (whole / "README.md").write_text("how good it is")
    verify(whole, "sts")


@pytest.mark.parametrize("name", [WEIGHTS, "1_Pooling/config.json", "tokenizer.json", "config.json", "modules.json"])
@pytest.mark.parametrize("fault", ["missing", "cut", "altered"])
def test_a_damaged_file_is_named(whole: Path, name: str, fault: str) -> None:
    path = whole / name
    content = path.read_bytes()
    if fault == "missing":
        path.unlink()
    elif fault == "cut":
        cut(path, len(content) - 1)
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointDamaged) as caught:
        verify(whole, "sts")
    assert caught.value.where == str(path)


def test_a_checkpoint_for_another_task_is_refused(whole: Path) -> None:
    with pytest.raises(CheckpointUnsupported, match="for sts, not for qa") as caught:
        verify(whole, "qa")
    assert caught.value.where == str(whole)


def test_a_folder_without_a_manifest_is_not_found(whole: Path) -> None:
    (whole / MANIFEST).unlink()
    with pytest.raises(CheckpointNotFound) as caught:
        verify(whole, "sts")
    assert caught.value.where == str(whole / MANIFEST)


def test_the_digest_depends_on_what_the_outputs_mean(folder: Path) -> None:
    changes: list[dict[str, object]] = [
        {},
        {"positive_output": 0},
        {"activation": "identity", "scale": (0.0, 5.0)},
        {"activation": "identity", "scale": (0.0, 1.0)},
        {"activation": "tanh", "scale": (0.0, 1.0)},
    ]
    digests = {write_manifest(folder, FULL.model_copy(update=change)).digest for change in changes}
    assert len(digests) == len(changes)
