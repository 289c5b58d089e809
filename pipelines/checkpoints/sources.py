"""Fetch the source of a checkpoint, which is a folder, a zip file or a Hub id, as a local folder."""

import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi, snapshot_download

from pipelines.engines.choice import ONNX
from pipelines.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointNotFound,
    CheckpointUnsafe,
    CheckpointUnsupported,
)
from pipelines.format.manifest import MANIFEST
from pipelines.format.pickles import PICKLED

FILE_PATTERNS = ["*.json", "*.txt", "*.model", "*.md", "*.safetensors"]
SAFETENSORS = ".safetensors"
WEIGHTS = {".ckpt", ".pt", ".pth", ".bin", SAFETENSORS}
"""Suffixes of files with weights only."""
FOREIGN = {".gguf": "llama.cpp", ".h5": "Keras", ".msgpack": "Flax", ".onnx": "ONNX", ".tflite": "TensorFlow Lite"}
"""Suffixes of files with weights that are not read here, and what writes them."""
PICKLED_ADAPTER = "adapter_model.bin"
LARGEST_ZIP_BYTES = 64 * 2**30


@dataclass(frozen=True, slots=True)
class FetchedSource:
    """A source as a local folder; `revision` is its commit on the Hub."""

    folder: Path
    name: str
    revision: str | None = None


@contextmanager
def fetch(source: str, revision: str | None = None) -> Iterator[FetchedSource]:
    """Provide `source` as a folder while the context lasts.

    A path that exists is a folder or a zip file; anything else is a Hub id, `owner/name` or `owner/name@revision`.
    Raises CheckpointNotFound, CheckpointDamaged, CheckpointUnsafe, and CheckpointUnsupported for a file of weights.
    """
    path = Path(source)
    if path.is_dir():
        yield FetchedSource(path, path.resolve().name)
    elif path.is_file():
        if path.suffix in FOREIGN:
            why = f"a file of {FOREIGN[path.suffix]}; load it with transformers, and import what save_pretrained writes"
            raise CheckpointUnsupported(source, why)
        if path.suffix in WEIGHTS:
            why = "a file of weights; import it: munjang import FILE FOLDER --base BASE, and then name that folder"
            raise CheckpointUnsupported(source, why)
        with TemporaryDirectory(prefix="munjang-") as folder, errors_naming(source, Path(folder)):
            yield FetchedSource(_unzip(path, Path(folder)), path.stem)
    else:
        yield _download(source, revision)


@contextmanager
def errors_naming(source: str, scratch: Path) -> Iterator[None]:
    """Replace the temporary folder `scratch` by `source` in the errors of the block."""
    try:
        yield
    except CheckpointError as error:
        raise type(error)(error.where.replace(str(scratch), source), error.why) from error


def _download(source: str, revision: str | None) -> FetchedSource:
    """Download from the Hub, or from the server that HF_ENDPOINT names."""
    repository, _, inline = source.partition("@")
    try:
        info = HfApi().model_info(repository, revision=revision or inline or None)
        names = [sibling.rfilename for sibling in info.siblings or []]
        patterns = [*FILE_PATTERNS, *_pickles_needed(names), *(ONNX.values() if MANIFEST in names else ())]
        folder = snapshot_download(repository, revision=info.sha, allow_patterns=patterns)
    except Exception as error:  # errors of the client, or of its HTTP library without a network
        raise CheckpointNotFound(source, f"no such path, and not on the Hub ({type(error).__name__})") from error
    return FetchedSource(Path(folder), repository, info.sha)


def _pickles_needed(names: Sequence[str]) -> list[str]:
    """The files of pickled weights in folders without safetensors."""
    safe = {PurePosixPath(name).parent for name in names if name.endswith(".safetensors")}
    paths = [PurePosixPath(name) for name in names]
    pickled = [path for path in paths if path.match(PICKLED) or path.match(PICKLED_ADAPTER)]
    return [str(path) for path in pickled if path.parent not in safe]


def _unzip(archive: Path, folder: Path) -> Path:
    """Unpack into `folder` and return the folder that holds the model: `folder` or its only subfolder."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            for member in zipped.infolist():
                _refuse_unsafe(archive, member)
            if sum(member.file_size for member in zipped.infolist()) > LARGEST_ZIP_BYTES:
                raise CheckpointUnsafe(str(archive), f"unpacks to more than {LARGEST_ZIP_BYTES} bytes")
            zipped.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: it needs a password
        raise CheckpointDamaged(str(archive), "neither a folder nor a complete zip file without a password") from error
    entries = [path for path in folder.iterdir() if path.name != "__MACOSX"]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _refuse_unsafe(archive: Path, member: zipfile.ZipInfo) -> None:
    parts = Path(member.filename.replace("\\", "/")).parts
    mode = member.external_attr >> 16
    if ".." in parts or member.filename.startswith(("/", "\\")) or stat.S_ISLNK(mode):
        raise CheckpointUnsafe(str(archive), "holds an entry that would be written outside of it")
