import argparse
import random
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from pipelines.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointNotFound,
    CheckpointUnsafe,
    CheckpointUnsupported,
)
from pipelines.format.loading import LONGEST_REASON, reason, refusing_damage, refusing_unsupported
from pipelines.format.pickles import read_pickle, refuse_unsafe_pickles
from tests.pipelines.checkpoints.damage import Planted, cut, plain_pickle


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "the planted code ran"


def test_tensors_and_plain_data_are_read(tmp_path: Path) -> None:
    content = {"weights": OrderedDict(a=torch.ones(2)), "epoch": 3, "arguments": argparse.Namespace(lr=5e-5)}
    torch.save(content, tmp_path / "file.bin")
    read = read_pickle(tmp_path / "file.bin")
    assert read["weights"]["a"].tolist() == [1, 1]
    assert read["arguments"].lr == 5e-5


def test_code_is_refused_and_does_not_run(tmp_path: Path, mark: Path) -> None:
    torch.save({"weights": torch.ones(2), "more": Planted(mark)}, tmp_path / "zipped.bin")
    torch.save({"more": Planted(mark)}, tmp_path / "legacy.bin", _use_new_zipfile_serialization=False)
    plain_pickle(tmp_path / "plain.bin", {"more": Planted(mark)})
    for name in ("zipped.bin", "legacy.bin", "plain.bin"):
        with pytest.raises(CheckpointUnsafe) as caught:
            read_pickle(tmp_path / name)
        assert caught.value.where == str(tmp_path / name)
    assert not mark.exists()


def test_the_planted_code_runs_without_weights_only(tmp_path: Path, mark: Path) -> None:
    torch.save(Planted(mark), tmp_path / "file.bin")
    torch.load(tmp_path / "file.bin", weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_damaged(tmp_path: Path, share: float) -> None:
    path = tmp_path / "file.bin"
    torch.save({"weights": torch.ones(200)}, path)
    cut(path, int(len(path.read_bytes()) * share))
    with pytest.raises(CheckpointDamaged):
        read_pickle(path)


def test_random_damage_raises_only_checkpoint_errors(tmp_path: Path) -> None:
    draw = random.Random(0)
    whole = tmp_path / "whole.bin"
    torch.save({"weights": torch.ones(20)}, whole, _use_new_zipfile_serialization=False)
    for _ in range(60):
        content = bytearray(whole.read_bytes())
        for _ in range(draw.choice([1, 5, 400])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path = tmp_path / "noise.bin"
        path.write_bytes(content)
        try:
            read_pickle(path)
        except (CheckpointDamaged, CheckpointUnsafe) as error:
            assert error.where == str(path)  # noqa: PT017  some damage only changes a number


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        read_pickle(tmp_path / "nothing.bin")


def test_only_files_that_a_library_unpickles_as_weights_are_read(tmp_path: Path, mark: Path) -> None:
    plain_pickle(tmp_path / "training_args.bin", Planted(mark))
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "openvino_model.bin").write_bytes(b"\0\1\2")
    refuse_unsafe_pickles(tmp_path)
    (tmp_path / "2_Dense").mkdir()
    for name in ("pytorch_model-00001-of-00002.bin", "2_Dense/pytorch_model.bin"):
        plain_pickle(tmp_path / name, Planted(mark))
        with pytest.raises(CheckpointUnsafe, match=name):
            refuse_unsafe_pickles(tmp_path)
        (tmp_path / name).unlink()
    assert not mark.exists()


def test_a_refusal_names_the_class_or_the_call(tmp_path: Path, mark: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointUnsafe, match=r"torch\.nn\.modules\.linear\.Linear"):
        refuse_unsafe_pickles(tmp_path)
    torch.save({"a": torch.ones(2), "path": Path("data")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointUnsafe, match=r"pathlib\.PosixPath"):
        refuse_unsafe_pickles(tmp_path)
    torch.save({"a": Planted(mark)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointUnsafe, match=r"posix\.system"):
        refuse_unsafe_pickles(tmp_path)


def test_the_lines_of_an_error_become_one_short_line() -> None:
    lines = "Couldn't read the tokenizer from one of:\n\n  \x1b[96m(1)\x1b[0m a file\n  (2) another file\n"
    assert reason(ValueError(lines)) == "Couldn't read the tokenizer from one of: (1) a file (2) another file"
    assert reason(KeyError()) == "KeyError"
    long = reason(ValueError("word " * 200))
    assert (len(long) <= LONGEST_REASON, long[-8:]) == (True, "word ...")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("not a model"), CheckpointDamaged),
        (ModuleNotFoundError("No module named 'sentencepiece'"), CheckpointUnsupported),
        (NotImplementedError("no such layer"), CheckpointUnsupported),
        (CheckpointNotFound("there", "missing"), CheckpointNotFound),
    ],
)
def test_only_files_that_cannot_be_read_are_damaged(
    tmp_path: Path, error: Exception, expected: type[CheckpointError]
) -> None:
    with pytest.raises(expected), refusing_damage(tmp_path):
        raise error


def test_an_error_of_a_library_on_sound_files_is_named_with_its_type(tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnsupported, match="KeyError: 'relu7'"), refusing_unsupported(tmp_path):
        raise KeyError("relu7")
