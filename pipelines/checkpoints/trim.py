"""Trim a multilingual checkpoint to the pieces of its vocabulary that given texts and scripts need."""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import AutoModel, AutoTokenizer

from pipelines.checkpoints.declared_outputs import refuse_other_outputs
from pipelines.checkpoints.finish import finish
from pipelines.checkpoints.importing import ImportOptions, import_folder
from pipelines.checkpoints.resolve import NOTHING_SAID, OutputOptions
from pipelines.checkpoints.sources import FetchedSource, errors_naming, fetch
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.checkpoints.tokenizers import refuse_without_vocabulary
from pipelines.checkpoints.trim_check import check_outputs, check_tokens, check_transformers_tokens
from pipelines.checkpoints.trim_pieces import PieceFinder
from pipelines.checkpoints.trim_texts import Text, read_texts
from pipelines.checkpoints.trim_tokenizer import TokenIds, named_ids, read_tokenizer, trim_tokenizer
from pipelines.checkpoints.trim_weights import CONFIG, config_ids, load_encoder, trim_model
from pipelines.errors import CheckpointUnsupported
from pipelines.format.loading import load_transformers, refusing_damage
from pipelines.format.manifest import MANIFEST, Manifest, read_manifest, verify
from pipelines.format.pickles import refuse_unsafe_pickles
from pipelines.format.tokenizer import TOKENIZER
from pipelines.format.weights import store_as, stored_as

logger = logging.getLogger(__name__)

CARD = "README.md"
PROMPTS = "config_sentence_transformers.json"
SUFFIX = ", trimmed"
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The numbers of pieces and of bytes (of weights and tokenizer) after and before trimming."""

    pieces: int
    pieces_before: int
    bytes: int
    bytes_before: int

    def __str__(self) -> str:
        pieces = f"{self.pieces:,} of {self.pieces_before:,} pieces"
        return f"kept {pieces}, {self.bytes / MEGABYTE:.1f} of {self.bytes_before / MEGABYTE:.1f} MB"


def trim(
    source: str,
    destination: Path,
    files: Sequence[Path],
    scripts: Sequence[str] = (),
    outputs: OutputOptions = NOTHING_SAID,
) -> Trimmed:
    """Write `source` to `destination` without the pieces that neither the texts of the files nor the scripts need.

    `source` is anything that `fetch` accepts: a checkpoint of this project, a model that `import_checkpoint` accepts,
    which is converted to the project's format, or a transformers encoder without a head, which stays a transformers
    folder. `outputs` is used for a model that is converted. The texts give the same tokens and outputs as before. The
    destination is complete or does not exist. Raises CheckpointError, and DataError if the files can't be read.
    """
    if destination.exists():
        raise CheckpointUnsupported(str(destination), "exists already")
    texts = read_texts(files)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".trim-", dir=destination.parent) as scratch:
        folder = Path(scratch) / "trimmed"
        with errors_naming(source, folder), _prepared(source, Path(scratch) / "whole", outputs) as whole:
            trimmed = _trim(whole, folder, texts, scripts, [path.name for path in files])
        folder.rename(destination)
    return trimmed


@contextmanager
def _prepared(source: str, scratch: Path, outputs: OutputOptions) -> Iterator[Path]:
    """Provide the source as a folder with `manifest.json`, or as a transformers encoder in safetensors."""
    with fetch(source) as fetched, errors_naming(source, scratch):
        if (fetched.folder / MANIFEST).is_file():
            manifest = verify(fetched.folder, read_manifest(fetched.folder).task)
            refuse_other_outputs(fetched.folder, manifest, outputs.positive_label, outputs.scale)
            yield fetched.folder
            return
        if _has_head(fetched.folder):
            wanted = ImportOptions(positive_label=outputs.positive_label, scale=outputs.scale)
            import_folder(fetched, scratch, wanted)
        else:
            _save_encoder(fetched, scratch)
        yield scratch


def _has_head(folder: Path) -> bool:
    if (folder / "modules.json").is_file() or not (folder / CONFIG).is_file():  # import reports missing files
        return True
    with refusing_damage(folder):
        names = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("architectures") or [""]
    return str(names[0]).endswith(("ForSequenceClassification", "ForQuestionAnswering"))


def _save_encoder(fetched: FetchedSource, folder: Path) -> None:
    """Save an encoder for fine-tuning, without the head of a language model."""
    refuse_unsafe_pickles(fetched.folder)
    refuse_without_vocabulary(fetched.folder)
    model = load_transformers(AutoModel, fetched.folder, pickled=True, may_lack="pooler.")
    store_as(model, stored_as(fetched.folder), fetched.folder)
    with refusing_damage(fetched.folder):
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(fetched.folder, local_files_only=True).save_pretrained(folder)
    if not (folder / TOKENIZER).is_file():
        raise CheckpointUnsupported(str(fetched.folder), "its tokenizer has no fast version")


def _trim(whole: Path, folder: Path, texts: Sequence[Text], scripts: Sequence[str], names: Sequence[str]) -> Trimmed:
    manifest = read_manifest(whole) if (whole / MANIFEST).is_file() else None
    texts = [*_prompted(whole, texts), *_golden(manifest)]
    _copy(whole, folder, manifest)
    trimmed = _trim_vocabulary(whole, folder, manifest, texts, scripts)
    check_transformers_tokens(whole, folder, texts)
    check_outputs(whole, folder, manifest, texts)
    _note(folder, trimmed, names, scripts)
    if manifest is not None:
        _finish(folder, manifest)
    return trimmed


def _prompted(whole: Path, texts: Sequence[Text]) -> list[Text]:
    """The texts without a prompt and after each of the model's prompts, which may change the first token."""
    path = whole / PROMPTS
    prompts: dict[str, str] = {}
    if path.is_file():
        with refusing_damage(path):
            prompts = json.loads(path.read_text(encoding="utf-8")).get("prompts") or {}
    distinct = dict.fromkeys(["", *prompts.values()])
    return [Text(text.where, prompt + text.text) for prompt in distinct for text in texts]


def _golden(manifest: Manifest | None) -> list[Text]:
    if manifest is None:
        return []
    inputs = [*TASKS[manifest.task].golden, *(golden.inputs for golden in manifest.golden)]
    return [Text("golden inputs", text) for texts in inputs for text in texts]


def _copy(whole: Path, folder: Path, manifest: Manifest | None) -> None:
    """Copy all files of the checkpoint, including its graphs, which `finish` removes."""
    found = [path.relative_to(whole).as_posix() for path in whole.rglob("*")] if manifest is None else manifest.files
    for name in {*found, CARD}:
        if (whole / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(whole / name, folder / name)


def _trim_vocabulary(
    whole: Path, folder: Path, manifest: Manifest | None, texts: Sequence[Text], scripts: Sequence[str]
) -> Trimmed:
    content, tokenizer = read_tokenizer(folder / TOKENIZER)
    pieces = PieceFinder(str(folder), content, tokenizer).find(texts, scripts)
    ids = tokenizer.get_vocab(with_added_tokens=True)
    numbers = TokenIds.of(ids, pieces, named_ids(content, str(folder)) | config_ids(folder))
    after = trim_tokenizer(content, ids, numbers, str(folder))
    after.save(str(folder / TOKENIZER))
    after.no_truncation()
    after.no_padding()
    check_tokens(tokenizer, after, texts, str(folder))
    trim_model(folder, load_encoder(whole, manifest), numbers)
    return Trimmed(len(numbers.kept), len(ids), _size(folder), _size(whole))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in (*folder.glob("*.safetensors"), folder / TOKENIZER))


def _note(folder: Path, trimmed: Trimmed, names: Sequence[str], scripts: Sequence[str]) -> None:
    """Append a section about the trimming to the model card."""
    card = folder / CARD
    before = card.read_text(encoding="utf-8").rstrip() + "\n\n" if card.is_file() else ""
    also = f", and the single characters of {', '.join(scripts)}" if scripts else ""
    card.write_text(
        f"{before}## Trimmed\n\n"
        f"The vocabulary holds {trimmed.pieces:,} of {trimmed.pieces_before:,} pieces: what the texts of "
        f"{', '.join(names)} need{also}. On those texts tokens and outputs are as before; other texts may be split "
        "into more pieces or into unknown ones.\n",
        encoding="utf-8",
    )


def _finish(folder: Path, manifest: Manifest) -> None:
    if manifest.int8 is not None:
        logger.warning("the int8 graph of %s is left out; the command quantize adds a new one", manifest.name)
    name = manifest.name.removesuffix(SUFFIX) + SUFFIX
    finish(folder, manifest.model_copy(update={"name": name, "int8": None, "golden": [], "files": {}}))
    verify(folder, manifest.task)
