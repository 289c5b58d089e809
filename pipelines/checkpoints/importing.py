"""Anything that users have, into the project's format."""

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer

import pipelines.format.architectures  # noqa: F401  registers those of the project
from pipelines.checkpoints.finish import finish
from pipelines.checkpoints.lightning import write_transformers
from pipelines.checkpoints.sources import FetchedSource, blaming, fetch
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.kinds import Head, head_of
from pipelines.format.loading import load_transformers, refusing_damage
from pipelines.format.manifest import (
    DEFAULT_THRESHOLDS,
    MANIFEST,
    Kind,
    Manifest,
    Task,
    read_manifest,
    verify,
)
from pipelines.format.pickles import refuse_unsafe_pickles
from pipelines.format.sentence_transformer import load_sentence_transformer, served_prompts
from pipelines.format.weights import Weights, store_as, stored_as
from pipelines.format.windows import WindowSettings

logger = logging.getLogger(__name__)

LIBRARY_CONFIG = "config_sentence_transformers.json"
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


@dataclass(frozen=True)
class ImportOptions:
    """What a user says of a checkpoint to import, as `import_checkpoint` takes it."""

    task: Task | None = None
    windows: WindowSettings | None = None
    weights: Weights | None = None


def import_checkpoint(
    source: str,
    destination: Path,
    *,
    task: Task | None = None,
    base: str | None = None,
    revision: str | None = None,
    windows: WindowSettings | None = None,
    weights: Weights | None = None,
) -> Manifest:
    """Write `source` to `destination` in the project's format, and verify it there.

    `source` is a SentenceTransformer folder or zip, a transformers folder, a Hub id, or a Lightning `.ckpt`, which
    needs `base`, the folder or Hub id that gives its config and tokenizer. `task` is found out where it is None.
    `windows` are those that an extractor was trained with.
    Weights are stored as the source stores them, or rounded to `weights`.
    The destination appears whole or not at all. Raises CheckpointError.
    """
    if destination.exists():
        raise CheckpointUnsupported(str(destination), "exists already")
    if base is None and source.endswith(".ckpt"):
        raise CheckpointUnsupported(source, "a Lightning file; it needs the folder or Hub id of its base model")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".import-", dir=destination.parent) as scratch:
        folder = Path(scratch) / "checkpoint"
        with blaming(source, folder):
            wanted = ImportOptions(task, windows, weights)
            if base is not None:
                manifest = _import_lightning(Path(source), base, folder, revision, wanted, Path(scratch))
            else:
                with fetch(source, revision) as fetched:
                    manifest = import_folder(fetched, folder, wanted)
            verify(folder, manifest.task)
        folder.rename(destination)
    logger.info("imported %s as %s: %s, %s", source, destination, manifest.task, manifest.kind)
    return manifest


def _import_lightning(
    checkpoint: Path,
    base: str,
    folder: Path,
    revision: str | None,
    wanted: ImportOptions,
    scratch: Path,
) -> Manifest:
    with fetch(base, revision) as fetched:
        refuse_unsafe_pickles(fetched.folder)
        write_transformers(checkpoint, fetched.folder, scratch / "transformers")
        merged = FetchedSource(scratch / "transformers", f"{checkpoint.stem} on {fetched.name}", fetched.revision)
        return import_folder(merged, folder, wanted)


def import_folder(fetched: FetchedSource, folder: Path, wanted: ImportOptions | None = None) -> Manifest:
    """Load with the library the folder came from, save as safetensors, and describe."""
    wanted = wanted or ImportOptions()
    if (fetched.folder / MANIFEST).is_file():
        return _copy(fetched.folder, folder, wanted)
    refuse_unsafe_pickles(fetched.folder)
    head = head_of(fetched.folder)
    refuse_without_vocabulary(fetched.folder)
    if wanted.task not in (None, head.task):
        raise CheckpointUnsupported(str(fetched.folder), f"a model for {head.task}, not for {wanted.task}")
    if wanted.windows is not None and head.task != "qa":
        raise CheckpointUnsupported(str(fetched.folder), f"a model for {head.task}, which reads no windows")
    if head.auto_class is None:
        limits = _save_sentence_transformer(fetched.folder, folder, wanted.weights)
    else:
        limits = _save(head, fetched.folder, folder, wanted.weights)
    return _describe(fetched, folder, head, {**limits, "windows": wanted.windows})


def refuse_without_vocabulary(folder: Path) -> None:
    """Raises CheckpointDamaged: transformers makes a tokenizer of special tokens alone where it finds no vocabulary,
    and says nothing."""
    if not any(path for pattern in VOCABULARIES for path in folder.rglob(pattern)):
        raise CheckpointDamaged(str(folder), "holds no tokenizer: no vocabulary at least")


def _copy(source: Path, folder: Path, wanted: ImportOptions) -> Manifest:
    """Refuses to round and to cut other windows: scores and int8 graph are of the checkpoint as it is."""
    manifest = verify(source, wanted.task or read_manifest(source).task)
    if wanted.weights not in (None, stored_as(source)):
        raise CheckpointUnsupported(
            str(source), f"in the project's format already, its weights not in {wanted.weights}"
        )
    if wanted.windows not in (None, manifest.windows):
        raise CheckpointUnsupported(str(source), "in the project's format already, with windows of its own")
    shutil.copytree(source, folder)
    return manifest


def _save_sentence_transformer(source: Path, folder: Path, weights: Weights | None) -> dict[str, Any]:
    """Saved through sentence-transformers. Returns what the manifest says of input."""
    model = load_sentence_transformer(source)
    prompts = served_prompts(model, str(source))
    if isinstance(model[0], StaticEmbedding):
        limits: dict[str, Any] = {"max_tokens": None, "special_tokens": False}
    else:
        limits = {"max_tokens": _longest_sentence(source, model)}
    store_as(model, weights or stored_as(source), source)
    with refusing_damage(source):
        model.save(str(folder), create_model_card=False)
    _lift_tokenizer(folder, model)
    rows = model[0].num_embeddings if isinstance(model[0], StaticEmbedding) else model[0].auto_model.config.vocab_size
    _refuse_tokens_beyond(rows, source, folder)
    return limits | {"prompts": prompts}


def _longest_sentence(source: Path, model: SentenceTransformer) -> int | None:
    """In tokens. Refuses an encoder with weights missing; only its pooler, which no pooling here uses, may be."""
    encoder = model[0].auto_model
    inside = source / "0_Transformer"  # where versions before 2 kept it
    load_transformers(type(encoder), inside if inside.is_dir() else source, pickled=True, may_lack="pooler.")
    longest = model.max_seq_length
    return longest_input(encoder.config, 10**9 if longest is None else longest)


def _lift_tokenizer(folder: Path, model: SentenceTransformer) -> None:
    """sentence-transformers keeps the tokenizer with its module; the format wants it at the top."""
    if not (folder / "tokenizer.json").is_file():
        tokenizer = getattr(model.tokenizer, "backend_tokenizer", model.tokenizer)
        tokenizer.save(str(folder / "tokenizer.json"))


def _save(head: Head, source: Path, folder: Path, weights: Weights | None) -> dict[str, Any]:
    _refuse_prompt(source)
    model = load_transformers(head.auto_class, source, pickled=True)
    store_as(model, weights or stored_as(source), source)
    _keep_activation(model.config, source)
    with refusing_damage(source):
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True, use_fast=True)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointUnsupported(str(source), "its tokenizer has no fast form")
    _refuse_tokens_beyond(model.config.vocab_size, source, folder)
    return {"max_tokens": longest_input(AutoConfig.from_pretrained(folder), tokenizer.model_max_length)}


def _refuse_tokens_beyond(rows: int, source: Path, folder: Path) -> None:
    """A token without a row in the embedding table would fail every request that holds it."""
    with refusing_damage(source):
        highest = max(Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab().values())
    if highest >= rows:
        raise CheckpointDamaged(str(source), f"its tokenizer has tokens up to {highest}, its model only {rows} of them")


def _keep_activation(config: Any, source: Path) -> None:
    """sentence-transformers says since version 6 in a file of its own what it used to say in config.json: what a
    cross-encoder's output goes through."""
    path = source / LIBRARY_CONFIG
    if path.is_file():
        with refusing_damage(path):
            said = json.loads(path.read_text(encoding="utf-8")).get("activation_fn")
        if said is not None:
            config.sentence_transformers = {"activation_fn": said}


def _refuse_prompt(source: Path) -> None:
    """`CrossEncoder.predict` puts the default prompt before the first text of each pair; nothing here does."""
    path = source / LIBRARY_CONFIG
    if path.is_file():
        with refusing_damage(path):
            said = json.loads(path.read_text(encoding="utf-8"))
            prompt = (said.get("prompts") or {}).get(said.get("default_prompt_name"))
        if prompt and said.get("model_type") == "CrossEncoder":
            raise CheckpointUnsupported(str(source), f"wants {prompt!r} before each pair, where none is put")


def longest_input(config: Any, model_max_length: int) -> int | None:
    """What a model can read, in tokens: the fewer of what the tokenizer says and what the position table holds."""
    encoder = getattr(config, "encoder", config)
    positions = getattr(encoder, "max_position_embeddings", None)
    if positions is not None and encoder.model_type in {"roberta", "xlm-roberta", "camembert"}:
        positions -= encoder.pad_token_id + 1  # their positions start behind the padding's
    known = [length for length in (positions, model_max_length) if length is not None and length < 10**9]
    return min(known, default=None)


def _describe(fetched: FetchedSource, folder: Path, head: Head, limits: dict[str, Any]) -> Manifest:
    kind: Kind = head.kind
    draft = Manifest(
        name=fetched.name,
        task=head.task,
        kind=kind,
        base_model=fetched.name,
        revision=fetched.revision,
        threshold=DEFAULT_THRESHOLDS[kind],
        **limits,
    )
    return finish(folder, draft)
