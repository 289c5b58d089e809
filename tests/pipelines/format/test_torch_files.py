import argparse
import builtins
import datetime
import decimal
import enum
import functools
import importlib
import operator
import os
import pathlib
import pickle
import subprocess
import uuid
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.trainer_utils import IntervalStrategy

from pipelines.errors import CheckpointDamaged, CheckpointError, CheckpointNotFound, CheckpointUnsafe
from pipelines.format.inert_pickles import StoredTensor
from pipelines.format.pickle_machine import Inert
from pipelines.format.torch_files import TorchFile, read_torch_file


class Color(enum.Enum):
    RED = "red"


class Settings:
    def __init__(self) -> None:
        self.rate, self.parent = 5e-5, Path("data")


class Attributes(dict[str, Any]):
    """A mapping with a class of its own, as Lightning and omegaconf have."""


class Calling:
    """An object whose pickle calls `function(*arguments)`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def weights(file: TorchFile) -> dict[str, torch.Tensor]:
    state = file.content["state_dict"]
    return file.tensors({key: value for key, value in state.items() if isinstance(value, StoredTensor)})


FORMATS = [{}, {"pickle_protocol": 4}, {"pickle_protocol": 5}, {"_use_new_zipfile_serialization": False}]


@pytest.mark.parametrize("options", FORMATS)
def test_tensors_are_read_as_they_were_saved(tmp_path: Path, options: dict[str, Any]) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    state = OrderedDict(
        whole=whole,
        column=whole[:, 1],
        turned=whole.T,
        parameter=torch.nn.Parameter(torch.ones(2)),
        half=torch.ones(3, dtype=torch.bfloat16),
        ids=torch.tensor([[7, 8]]),
        flag=torch.tensor(True),
        empty=torch.zeros(0, 3),
        unsigned=torch.tensor([1, 65535], dtype=torch.uint16),
    )
    torch.save({"state_dict": state}, tmp_path / "file.pt", **options)
    read = weights(read_torch_file(tmp_path / "file.pt"))
    assert list(read) == list(state)
    for name, value in state.items():
        assert read[name].dtype == value.dtype
        assert torch.equal(read[name], value.detach())


INERT = {
    "namespace": argparse.Namespace(lr=1),
    "path": pathlib.PurePosixPath("data"),
    "settings": Settings(),
    "mapping": Attributes(a=1),
    "default": defaultdict(list, a=[1]),
    "counter": Counter("aab"),
    "numpy float": np.float64(5e-5),
    "numpy array": np.ones((2, 3)),
    "random state": np.random.default_rng(0),
    "enum": Color.RED,
    "enum of transformers": IntervalStrategy.STEPS,
    "time": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "identifier": uuid.UUID(int=3),
    "decimal": decimal.Decimal("1.5"),
    "sets": ({1, 2}, frozenset([3]), b"bytes", bytearray(b"x"), 3 + 4j, slice(1, 2)),
    "class as a key": {Settings: {Color.RED: 1, (1, 2): 3}},
    "module": torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.GELU()),
    "functions of torch": (torch.nn.functional.cross_entropy, torch.float16, torch.device("cpu"), torch.Size([1])),
    "enum of Python 3.11.0": Calling(getattr, Color, "RED"),
}


@pytest.mark.parametrize("options", FORMATS)
@pytest.mark.parametrize("name", INERT)
def test_inert_objects_beside_weights_are_tolerated(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    torch.save({"hyper_parameters": INERT[name], "state_dict": {"a": torch.ones(2)}}, tmp_path / "file.ckpt", **options)
    assert weights(read_torch_file(tmp_path / "file.ckpt"))["a"].tolist() == [1, 1]


def test_no_class_of_the_file_is_imported_or_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"hyper_parameters": Settings(), "state_dict": {}}, tmp_path / "file.ckpt")
    monkeypatch.delattr(f"{__name__}.Settings")
    content = read_torch_file(tmp_path / "file.ckpt").content
    assert isinstance(content["hyper_parameters"], Inert)
    assert str(content["hyper_parameters"].kind) == f"{__name__}.Settings"


HOSTILE = {
    "posix.system": (os.system, "touch MARK"),
    "subprocess.Popen": (subprocess.Popen, ["touch", "MARK"]),
    "builtins.eval": (eval, "open('MARK', 'w')"),
    "builtins.exec": (exec, "open('MARK', 'w')"),
    "io.open": (builtins.open, "MARK", "w"),
    "functools.partial": (functools.partial, open, "MARK", "w"),
    "builtins.getattr": (getattr, Settings, "__init__"),
    "operator.attrgetter": (operator.attrgetter, "system"),
    "operator.getitem": (operator.getitem, {}, "a"),
    "importlib.import_module": (importlib.import_module, "antigravity"),
    "builtins.__import__": (__import__, "antigravity"),
    "_pickle.loads": (pickle.loads, b"cos\nsystem\n(S'touch MARK'\ntR."),
    "torch.hub.load": (torch.hub.load, "owner/name", "model"),
    "torch.serialization.load": (torch.load, "MARK"),
    "torch.storage._load_from_bytes": (torch.storage._load_from_bytes, b""),
    "numpy.load": (np.load, "MARK", None, True),
}


@pytest.mark.parametrize("options", FORMATS)
@pytest.mark.parametrize("name", HOSTILE)
def test_calls_beside_inert_objects_are_refused_by_name_and_do_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = Calling(*HOSTILE[name])
    content = {"hyper_parameters": {"path": Path("data"), "more": [hostile]}, "state_dict": {"a": torch.ones(2)}}
    torch.save(content, "file.ckpt", **options)
    with pytest.raises(CheckpointUnsafe, match=name.rpartition(".")[2]):
        read_torch_file(Path("file.ckpt"))
    assert not Path("MARK").exists()


def test_a_call_of_what_another_call_made_is_refused(tmp_path: Path) -> None:
    made = Calling(getattr, Color, "RED")
    program = pickle.dumps(made, protocol=2)[:-1] + b")R."
    (tmp_path / "file.pt").write_bytes(program)
    with pytest.raises(CheckpointUnsafe, match="not a class"):
        read_torch_file(tmp_path / "file.pt")


@pytest.mark.parametrize("options", FORMATS)
def test_a_whole_module_is_a_placeholder_that_names_its_class(tmp_path: Path, options: dict[str, Any]) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt", **options)
    content = read_torch_file(tmp_path / "model.pt").content
    assert isinstance(content, Inert)
    assert str(content.kind) == "torch.nn.modules.linear.Linear"


def test_a_whole_module_whose_state_calls_something_is_refused_by_its_class(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 2)
    module.hook = functools.partial(print, "x")
    torch.save(module, tmp_path / "model.pt")
    with pytest.raises(CheckpointUnsafe, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_torch_file(tmp_path / "model.pt")


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("model/constants.pkl", pickle.dumps((), protocol=2))
    with pytest.raises(CheckpointUnsafe, match="TorchScript"):
        read_torch_file(tmp_path / "model.pt")


@pytest.mark.parametrize("options", FORMATS)
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_damaged(tmp_path: Path, share: float, options: dict[str, Any]) -> None:
    path = tmp_path / "file.pt"
    torch.save({"state_dict": {"a": torch.ones(2000)}}, path, **options)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CheckpointDamaged):
        weights(read_torch_file(path))


def test_random_damage_raises_only_checkpoint_errors(tmp_path: Path) -> None:
    draw, path = np.random.default_rng(0), tmp_path / "file.pt"
    torch.save({"state_dict": {"a": torch.ones(20)}, "b": Settings()}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 5, 400])):
            content[draw.integers(len(content))] = draw.integers(256)
        path.write_bytes(content)
        try:
            file = read_torch_file(path)
            state = file.content.get("state_dict") if isinstance(file.content, dict) else None
            stored = state.get("a") if isinstance(state, dict) else None
            file.tensors({"a": stored} if isinstance(stored, StoredTensor) else {})
        except CheckpointError as error:
            assert error.where == str(path)  # noqa: PT017  some damage only changes a number


def test_a_tensor_beyond_its_storage_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save({"state_dict": {"a": torch.ones(3)}}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"K\x03\x85", b"K\x7f\x85"))
    with pytest.raises(CheckpointDamaged):
        weights(read_torch_file(path))


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        read_torch_file(tmp_path / "nothing.pt")
    with pytest.raises(CheckpointDamaged, match="folder"):
        read_torch_file(tmp_path)
