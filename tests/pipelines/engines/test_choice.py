from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.engines import choice
from pipelines.engines.choice import (
    LARGEST_LOADED_TWICE,
    Choice,
    EngineSettings,
    choose,
    multiplies_int8,
    replica_engines,
)
from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import Manifest

FOLDER = Path("checkpoints") / "x"
FLOAT32 = ("model.onnx",)
INT8 = ("model.onnx", "model.int8.onnx")
CPU = {"device": "cpu"}
GPU = {"device": "cuda"}

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """Simulates a machine.

    driver   whether a GPU driver is installed
    works    whether PyTorch finds a GPU
    visible  the value of CUDA_VISIBLE_DEVICES; None: not set
    flags    the flags of the CPU; None: unknown
    """

    def pretend(
        *, driver: bool = False, works: bool = True, visible: str | None = None, flags: str | None = "fpu avx512_vnni"
    ) -> None:
        monkeypatch.setattr(choice, "NVIDIA_DRIVER", tmp_path / "version")
        monkeypatch.setattr(choice, "CPU_INFO", tmp_path / "cpuinfo")
        if driver:
            (tmp_path / "version").write_text("NVRM version")
        if flags is not None:
            (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nvmx flags\t: ept\n")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: works)
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    pretend()
    return pretend


def manifest_with(files: tuple[str, ...]) -> Manifest:
    hashes = dict.fromkeys((*files, "model.safetensors"), "0" * 64)
    return Manifest(name="x", task="sts", kind="bi-encoder", threshold=0.6, files=hashes)


def chosen(files: tuple[str, ...], **settings: Any) -> Choice:
    return choose(FOLDER, manifest_with(files), EngineSettings(**settings))


def engines(
    files: tuple[str, ...], folder: Path = FOLDER, **settings: Any
) -> tuple[EngineSettings, EngineSettings | None]:
    return replica_engines(folder, manifest_with(files), EngineSettings(**settings))


@pytest.mark.parametrize(
    ("files", "settings", "expected"),
    [
        (INT8, {}, "onnx int8 on cpu"),
        (INT8, CPU, "onnx int8 on cpu"),
        (INT8, {"backend": "onnx"}, "onnx int8 on cpu"),
        (INT8, {"dtype": "int8"}, "onnx int8 on cpu"),
        (INT8, {"dtype": "float32"}, "onnx float32 on cpu"),
        (INT8, {"backend": "torch"}, "torch float32 on cpu"),
        (INT8, {"dtype": "bfloat16"}, "torch bfloat16 on cpu"),
        (INT8, {"backend": "torch", "dtype": "bfloat16"}, "torch bfloat16 on cpu"),
        (FLOAT32, {}, "onnx float32 on cpu"),
        (FLOAT32, {"backend": "onnx", "dtype": "float32"}, "onnx float32 on cpu"),
        ((), {}, "torch float32 on cpu"),
        ((), {"dtype": "float32"}, "torch float32 on cpu"),
        (INT8, GPU, "torch float16 on cuda"),
        (INT8, GPU | {"dtype": "float32"}, "torch float32 on cuda"),
        (INT8, GPU | {"backend": "torch", "dtype": "bfloat16"}, "torch bfloat16 on cuda"),
    ],
)
def test_the_fastest_allowed_engine_is_chosen(
    machine: Machine, files: tuple[str, ...], settings: dict[str, Any], expected: str
) -> None:
    assert chosen(files, **settings).name == expected


@pytest.mark.parametrize(
    ("given", "settings", "expected"),
    [
        ({"driver": True}, {}, "torch float16 on cuda"),
        ({"driver": True, "visible": "0,1"}, {}, "torch float16 on cuda"),
        ({"driver": True, "visible": ""}, {}, "onnx int8 on cpu"),
        ({"driver": True, "visible": "-1"}, {}, "onnx int8 on cpu"),
        ({"driver": True, "works": False}, {}, "onnx int8 on cpu"),
        ({"driver": False, "works": True}, {}, "onnx int8 on cpu"),
        ({"driver": True}, CPU, "onnx int8 on cpu"),
        ({"driver": True}, {"backend": "onnx"}, "onnx int8 on cpu"),
        ({"driver": True}, {"dtype": "int8"}, "onnx int8 on cpu"),
        ({"driver": True}, {"backend": "torch", "dtype": "float32"}, "torch float32 on cuda"),
        ({"driver": False}, GPU, "torch float16 on cuda"),
    ],
)
def test_a_gpu_is_used_if_the_replica_has_one(
    machine: Machine, given: dict[str, Any], settings: dict[str, Any], expected: str
) -> None:
    machine(**given)
    assert chosen(INT8, **settings).name == expected


def test_torch_does_not_look_for_a_gpu_without_a_driver(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("asked"))
    assert chosen(FLOAT32).device == "cpu"


@pytest.mark.parametrize(
    ("files", "settings", "reason"),
    [
        ((), {"backend": "onnx"}, "holds no ONNX graph in float32"),
        ((), {"dtype": "int8"}, "holds no ONNX graph in int8; `munjang quantize` adds one"),
        (FLOAT32, {"dtype": "int8"}, "holds no ONNX graph in int8; `munjang quantize` adds one"),
        (INT8, {"backend": "onnx", "dtype": "bfloat16"}, "holds no ONNX graph in bfloat16"),
        (INT8, {"backend": "torch", "dtype": "int8"}, "PyTorch does not run int8 here"),
        (INT8, GPU | {"dtype": "int8"}, "ONNX Runtime runs on the CPU here, not on cuda"),
        (INT8, GPU | {"backend": "onnx", "dtype": "float32"}, "ONNX Runtime runs on the CPU here, not on cuda"),
        (INT8, GPU | {"backend": "onnx"}, "ONNX Runtime runs on the CPU here, not on cuda"),
    ],
)
def test_settings_that_can_not_be_met_are_refused_with_the_reason(
    machine: Machine, files: tuple[str, ...], settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CheckpointUnsupported) as caught:
        chosen(files, **settings)
    assert (caught.value.where, caught.value.why) == (str(FOLDER), reason)


def test_a_cpu_without_native_int8_runs_float32_unless_set_to_int8(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine(flags="fpu avx2")
    with caplog.at_level("INFO", logger="pipelines"):
        assert chosen(INT8).dtype == "float32"
    assert caplog.messages == ["x runs in float32: the CPU has no int8 dot products, for which it has a graph"]
    assert chosen(INT8, backend="onnx").dtype == "float32"
    assert chosen(INT8, dtype="int8").dtype == "int8"


@pytest.mark.parametrize(
    ("flags", "can"),
    [("avx512_vnni", True), ("avx_vnni", True), ("amx_int8", True), ("avx2 avx512f", False), ("avx512_vnnix", False)],
)
def test_the_flags_of_an_x64_cpu_tell_whether_it_multiplies_int8(machine: Machine, flags: str, can: bool) -> None:
    machine(flags=f"fpu {flags} sse")
    assert multiplies_int8() is can


def test_the_features_of_an_arm_cpu_tell_whether_it_multiplies_int8(machine: Machine, tmp_path: Path) -> None:
    for features, can in (("fp asimd asimddp", True), ("fp asimd", False)):
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nFeatures\t: {features}\n")
        assert multiplies_int8() is can


@pytest.mark.parametrize(("name", "can"), [("arm64", True), ("aarch64", True), ("AMD64", False)])
def test_without_proc_an_arm_cpu_is_assumed_to_multiply_int8(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, can: bool
) -> None:
    (tmp_path / "cpuinfo").unlink()
    monkeypatch.setattr("platform.machine", lambda: name)
    assert multiplies_int8() is can


@pytest.mark.parametrize(
    ("settings", "slots"),
    [
        ({"backend": "torch"}, 1),
        ({"backend": "onnx"}, 2),
        ({"device": "cuda"}, 2),
        ({"backend": "torch", "slots": 3}, 3),
        ({"backend": "onnx", "slots": 1}, 1),
    ],
)
def test_two_batches_run_at_once_except_with_torch_on_a_cpu(
    machine: Machine, settings: dict[str, Any], slots: int
) -> None:
    assert chosen(INT8, **settings).slots == slots


def test_the_number_of_threads_comes_from_the_settings(machine: Machine) -> None:
    assert chosen(INT8, threads=3).threads == 3
    assert chosen(INT8).threads == 1


@pytest.mark.parametrize(
    ("settings", "lone"),
    [
        ({}, (2, 1)),
        ({"slots": 3, "threads": 2}, (6, 1)),
        ({"slots": 1}, None),
        ({"slots": 1, "lone_threads": 4}, (4, 1)),
        ({"lone_threads": 1}, None),
        ({"backend": "torch", "slots": 2}, None),
        ({"backend": "torch", "lone_threads": 2}, None),
        ({"device": "cuda"}, None),
    ],
)
def test_onnx_runtime_has_a_second_engine_with_the_threads_of_all_slots(
    machine: Machine, settings: dict[str, Any], lone: tuple[int, int] | None
) -> None:
    second = engines(INT8, **settings)[1]
    assert (second and (second.threads, second.slots)) == lone


def test_the_engines_of_a_replica_have_the_same_arithmetic_and_leave_nothing_to_be_chosen(machine: Machine) -> None:
    first, second = engines(INT8)
    expected = EngineSettings(device="cpu", dtype="int8", backend="onnx", slots=2)
    assert (first, second) == (expected, expected.model_copy(update={"threads": 2, "slots": 1}))


def test_large_weights_are_loaded_again_only_if_the_settings_say_so(machine: Machine, tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(LARGEST_LOADED_TWICE + 1)
    assert engines(INT8, folder=tmp_path)[1] is None
    second = engines(INT8, folder=tmp_path, lone_threads=2)[1]
    assert second is not None
    assert second.threads == 2


def test_without_pytorch_a_gpu_is_left_unused_and_the_log_says_what_to_install(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(driver=True)
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert chosen(FLOAT32).device == "cpu"
    assert "pip install 'munjang[models]'" in caplog.text


def test_pytorch_is_refused_as_an_engine_if_it_is_not_installed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(CheckpointUnsupported, match=r"not installed; pip install 'munjang\[models\]'"):
        chosen(FLOAT32, backend="torch")
