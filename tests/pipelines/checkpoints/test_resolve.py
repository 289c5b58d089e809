import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.checkpoints import resolve as module
from pipelines.checkpoints.resolve import ROOT, OutputOptions, cache_folder, resolve
from pipelines.errors import CheckpointNotFound, CheckpointUnsupported
from pipelines.format.manifest import MANIFEST, read_manifest, verify
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.damage import WEIGHTS, copy, edit_json, edit_weights

RESOLVE = "import sys; from pipelines.checkpoints.resolve import resolve; print(resolve(sys.argv[1], 'sts'))"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MUNJANG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_checkpoint_in_the_format_is_used_in_place(imported: MakeCheckpoint, cache: Path) -> None:
    assert resolve(str(imported("static")), "sts") == imported("static")
    assert not cache.exists()


def test_other_sources_are_imported_into_the_cache_and_kept(checkpoint: MakeCheckpoint, cache: Path) -> None:
    first = resolve(str(checkpoint("static")), "sts")
    written = (first / MANIFEST).stat().st_mtime_ns
    assert first.parent == cache
    verify(first, "sts")
    assert resolve(str(checkpoint("static")), "sts") == first
    assert (first / MANIFEST).stat().st_mtime_ns == written


def test_what_is_said_about_outputs_is_imported_and_another_word_is_another_import(
    checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = copy(checkpoint("classifier"), tmp_path / "source")
    edit_json(source / "config.json", id2label={"0": "POSITIVE", "1": "NEGATIVE"})
    with pytest.raises(CheckpointUnsupported, match=r"--positive-label LABEL, or POSITIVE_LABEL=LABEL of make serve"):
        resolve(str(source), "cola")
    folders = [resolve(str(source), "cola", OutputOptions(positive_label=label)) for label in ("positive", "1")]
    assert [read_manifest(folder).positive_output for folder in folders] == [0, 1]
    assert resolve(str(source), "cola", OutputOptions(positive_label="positive")) == folders[0]
    pair = resolve(str(checkpoint("cross-encoder")), "sts", OutputOptions(scale=(-10, 10)))
    assert read_manifest(pair).scale == (-10, 10)


def test_a_checkpoint_in_the_format_that_declares_other_outputs_is_refused(imported: MakeCheckpoint) -> None:
    classifier, pair = str(imported("classifier")), str(imported("cross-encoder"))
    assert resolve(classifier, "cola", OutputOptions(positive_label="LABEL_1")) == imported("classifier")
    assert resolve(pair, "sts", OutputOptions(scale=(0, 5))) == imported("cross-encoder")
    with pytest.raises(CheckpointUnsupported, match="another positive output"):
        resolve(classifier, "cola", OutputOptions(positive_label="LABEL_0"))
    with pytest.raises(CheckpointUnsupported, match="another scale"):
        resolve(pair, "sts", OutputOptions(scale=(0, 1)))


def test_a_source_that_changed_is_imported_again(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = copy(checkpoint("static"), tmp_path / "source")
    edit_weights(source, lambda weights: weights["embedding.weight"].mul_(2))
    size = (source / WEIGHTS).stat().st_size
    before = resolve(str(source), "sts")
    edit_weights(source, lambda weights: weights["embedding.weight"].mul_(-2).add_(0.1))
    assert (source / WEIGHTS).stat().st_size == size
    after = resolve(str(source), "sts")
    assert before != after
    assert read_manifest(before).golden != read_manifest(after).golden


def test_a_model_for_another_task_is_refused_and_not_kept(checkpoint: MakeCheckpoint, cache: Path) -> None:
    with pytest.raises(CheckpointUnsupported):
        resolve(str(checkpoint("static")), "qa")
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_a_source_that_does_not_exist_is_not_found() -> None:
    with pytest.raises(CheckpointNotFound, match="owner/name"):
        resolve("owner/name", "sts")


def test_a_relative_path_is_looked_up_in_the_working_folder_then_in_the_root(
    imported: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("root", "here"):
        copy(imported("static"), tmp_path / place / "checkpoints" / "sts")
    monkeypatch.setattr(module, "ROOT", tmp_path / "root")
    monkeypatch.chdir(tmp_path)
    assert resolve("checkpoints/sts", "sts") == tmp_path / "root" / "checkpoints" / "sts"
    monkeypatch.chdir(tmp_path / "here")
    assert resolve("checkpoints/sts", "sts").resolve() == tmp_path / "here" / "checkpoints" / "sts"


def test_the_root_is_that_of_the_repository() -> None:
    assert (ROOT / "pipelines" / "checkpoints" / "resolve.py").is_file()


def test_the_environment_sets_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MUNJANG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "munjang"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "munjang"


def test_two_processes_that_start_together_import_once(checkpoint: MakeCheckpoint, cache: Path) -> None:
    command = [sys.executable, "-c", RESOLVE, str(checkpoint("static"))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, cwd=ROOT, env=os.environ, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    ended = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    folders = {Path(out.strip()) for out, _ in ended}
    assert len(folders) == 1
    assert [path for path in cache.iterdir() if path.is_dir()] == list(folders)
    verify(folders.pop(), "sts")


def test_importing_without_the_packages_for_it_says_what_to_install(checkpoint: MakeCheckpoint) -> None:
    command = [sys.executable, "-c", f"import sys; sys.modules['torch'] = None; {RESOLVE}", str(checkpoint("static"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert "importing it needs torch; pip install 'munjang[models]'" in done.stderr.splitlines()[-1]
