"""Import models into the project's checkpoint format."""

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from transformers import AutoTokenizer

import pipelines.format.architectures  # noqa: F401  registers the project's architectures
from pipelines.checkpoints.adapters import merged_adapter
from pipelines.checkpoints.declared_outputs import declared_outputs, refuse_other_outputs
from pipelines.checkpoints.finish import finish
from pipelines.checkpoints.heads import refuse_other_spans
from pipelines.checkpoints.lightning import write_transformers
from pipelines.checkpoints.limits import longest_input, runs_padded
from pipelines.checkpoints.sources import WEIGHTS, FetchedSource, errors_naming, fetch
from pipelines.checkpoints.support import refuse_distributed, refuse_pointers, refuse_unusable
from pipelines.checkpoints.tokenizers import (
    fit_to_table,
    input_fields,
    refuse_without_vocabulary,
    save_tokenizer,
    table_rows,
)
from pipelines.errors import CheckpointUnsupported, MunjangError
from pipelines.format.activations import LIBRARY_CONFIG, activation_of, declare_activation
from pipelines.format.encode_settings import refuse_module_settings, refuse_unknown_settings, served_dimensions
from pipelines.format.kinds import CROSS_ENCODER, EXTRACTOR, Head, head_of
from pipelines.format.loading import load_transformers, reason, refusing_damage
from pipelines.format.manifest import (
    KIND_SPECS,
    MANIFEST,
    Kind,
    Manifest,
    Scale,
    Task,
    read_manifest,
    verify,
)
from pipelines.format.outputs import outputs_of
from pipelines.format.pickles import refuse_unsafe_pickles
from pipelines.format.sentence_transformer import load_sentence_transformer, save_sentence_transformer, served_prompts
from pipelines.format.weights import Weights, store_as, stored_as
from pipelines.format.windows import WindowSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportOptions:
    """Optional arguments of `import_checkpoint`, which explains them."""

    task: Task | None = None
    windows: WindowSettings | None = None
    weights: Weights | None = None
    positive_label: str | None = None
    scale: Scale | None = None


def import_checkpoint(
    source: str,
    destination: Path,
    *,
    task: Task | None = None,
    base: str | None = None,
    revision: str | None = None,
    windows: WindowSettings | None = None,
    weights: Weights | None = None,
    positive_label: str | None = None,
    scale: Scale | None = None,
) -> Manifest:
    """Write `source` to `destination` in the project's format, and verify it there.

    `source` is a SentenceTransformer folder or zip file, a transformers folder, a Hub id, a PEFT adapter, or a file of
    weights (Lightning's `.ckpt`, a state_dict, or safetensors). A file of weights needs `base`, the folder or Hub id
    with its config and tokenizer; an adapter names its base itself, and `base` overrides that. `task` refuses models
    for other tasks. `windows` are the windows with which an extractor was trained. Weights keep the number format of
    the source, or are rounded to `weights`. `positive_label` is the label, or the index, of a classifier's output that
    means "acceptable"; it is needed where the model's labels do not say so. `scale` is the range of a cross-encoder's
    predictions, which becomes 0 to 5, if it is not the range of its activation function. The destination is complete or
    does not exist. Raises CheckpointError.
    """
    if destination.exists():
        raise CheckpointUnsupported(str(destination), "exists already")
    file = Path(source).suffix in WEIGHTS and not Path(source).is_dir()
    if base is None and file:
        why = "a file of weights, whose base model has to be named: munjang import FILE FOLDER --base BASE"
        raise CheckpointUnsupported(source, why)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".import-", dir=destination.parent) as scratch:
        folder = Path(scratch) / "checkpoint"
        with errors_naming(source, folder):
            wanted = ImportOptions(task, windows, weights, positive_label, scale)
            if base is not None and file:
                manifest = _import_lightning(Path(source), base, folder, revision, wanted, Path(scratch))
            else:
                with fetch(source, revision) as fetched, merged_adapter(fetched, base) as merged:
                    manifest = _import_fetched(merged, folder, wanted)
            verify(folder, manifest.task)
        folder.rename(destination)
    logger.info("imported %s as %s: %s, %s", source, destination, manifest.task, manifest.kind)
    return manifest


def _import_fetched(fetched: FetchedSource, folder: Path, wanted: ImportOptions) -> Manifest:
    try:
        return import_folder(fetched, folder, wanted)
    except (MunjangError, OSError):
        raise
    except Exception as error:
        # a library, or a file that has another shape than expected; the command line prints no traceback
        why = f"can't be imported: {type(error).__name__}: {reason(error)}"
        raise CheckpointUnsupported(str(fetched.folder), why) from error


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
        return _import_fetched(merged, folder, wanted)


def import_folder(fetched: FetchedSource, folder: Path, wanted: ImportOptions | None = None) -> Manifest:
    """Load a model with its library, save it as safetensors, and write the manifest."""
    wanted = wanted or ImportOptions()
    if (fetched.folder / MANIFEST).is_file():
        return _copy(fetched.folder, folder, wanted)
    refuse_pointers(fetched.folder)
    refuse_distributed(fetched.folder)
    refuse_unsafe_pickles(fetched.folder)
    refuse_unusable(fetched.folder)
    head = head_of(fetched.folder)
    refuse_without_vocabulary(fetched.folder)
    if wanted.task not in (None, head.task):
        raise CheckpointUnsupported(str(fetched.folder), _other_task(head, fetched.folder, wanted.task))
    if wanted.windows is not None and head.task != "qa":
        raise CheckpointUnsupported(str(fetched.folder), f"a model for {head.task}, which uses no windows")
    declared = declared_outputs(head, fetched.folder, wanted.positive_label, wanted.scale)
    if head.auto_class is None:
        limits = _save_sentence_transformer(fetched.folder, folder, wanted.weights)
    else:
        limits = _save(head, fetched.folder, folder, wanted.weights)
    return _describe(fetched, folder, head, {**limits, **declared, "windows": wanted.windows}, wanted)


def _other_task(head: Head, folder: Path, wanted: Task | None) -> str:
    outputs = f": it has {outputs_of(folder)}" if {head.task, wanted} == {"sts", "cola"} and head.auto_class else ""
    return f"a model for {head.task}, not for {wanted}{outputs}"


def _copy(source: Path, folder: Path, wanted: ImportOptions) -> Manifest:
    """Copy a checkpoint that is in the format already.

    Other weights or windows are refused, because the scores and the int8 graph belong to the present ones.
    """
    manifest = verify(source, wanted.task or read_manifest(source).task)
    if wanted.weights not in (None, stored_as(source)):
        raise CheckpointUnsupported(
            str(source), f"already in the project's format, and its weights are not stored in {wanted.weights}"
        )
    if wanted.windows not in (None, manifest.windows):
        raise CheckpointUnsupported(str(source), "already in the project's format, with other windows")
    refuse_other_outputs(source, manifest, wanted.positive_label, wanted.scale)
    shutil.copytree(source, folder)
    return manifest


def _save_sentence_transformer(source: Path, folder: Path, weights: Weights | None) -> dict[str, Any]:
    """Load and save with sentence-transformers; returns the manifest's fields about inputs."""
    refuse_unknown_settings(source)
    model = load_sentence_transformer(source, any_shapes=True)  # `_longest_sentence` refuses them by name
    prompts, dimensions = served_prompts(model, str(source)), served_dimensions(model, source)
    if isinstance(model[0], StaticEmbedding):
        limits = _static_limits(model[0].tokenizer)
    else:
        limits = {"max_tokens": _longest_sentence(source, model)}
        limits |= input_fields(model.tokenizer, model[0].auto_model)
        limits["padded"] = runs_padded(model[0].auto_model, model.tokenizer)
    store_as(model, weights or stored_as(source), source)
    with refusing_damage(source):
        save_sentence_transformer(model, folder)
    save_tokenizer(model.tokenizer, source, folder)
    static = isinstance(model[0], StaticEmbedding)
    rows = model[0].num_embeddings if static else table_rows(model[0].auto_model)
    fit_to_table(rows, source, folder)
    return limits | {"prompts": prompts, "dimensions": dimensions}


def _longest_sentence(source: Path, model: SentenceTransformer) -> int | None:
    """The longest input in tokens.

    Raises CheckpointDamaged if weights of the encoder are missing or do not fit its config. Only its pooler, which is
    not used, may be missing.
    """
    encoder = model[0].auto_model
    inside = source / "0_Transformer"  # its place in versions before 2
    load_transformers(type(encoder), inside if inside.is_dir() else source, pickled=True, may_lack="pooler.")
    return longest_input(encoder, model.tokenizer)


def _static_limits(tokenizer: Tokenizer) -> dict[str, Any]:
    """The manifest's fields about inputs of static embeddings, which only tokenizer.json may limit."""
    cut: dict[str, Any] = tokenizer.truncation or {"max_length": None, "direction": "right"}
    limits = {"max_tokens": cut["max_length"], "truncation_side": str(cut["direction"]).lower()}
    return limits | {"special_tokens": False}


def _save(head: Head, source: Path, folder: Path, weights: Weights | None) -> dict[str, Any]:
    _refuse_prompt(source)
    if head is EXTRACTOR:
        refuse_other_spans(source)
    model = load_transformers(head.auto_class, source, pickled=True)
    tokenizer = _tokenizer(head, source)
    limits = {"max_tokens": longest_input(model, tokenizer), "padded": runs_padded(model, tokenizer)}  # in float32
    store_as(model, weights or stored_as(source), source)
    if head is CROSS_ENCODER:
        declare_activation(model.config, activation_of(source))
    with refusing_damage(source):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    save_tokenizer(tokenizer, source, folder)
    fit_to_table(table_rows(model), source, folder)
    return limits | input_fields(tokenizer, model)


def _tokenizer(head: Head, source: Path) -> Any:
    """The tokenizer as the library of the model makes it of its files.

    sentence-transformers also reads sentence_bert_config.json, and cuts texts at the config's number of positions.
    """
    with refusing_damage(source):
        if head is not CROSS_ENCODER:
            return AutoTokenizer.from_pretrained(source, local_files_only=True, use_fast=True)
        model = CrossEncoder(str(source), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"})
        refuse_module_settings(model, source)
        return model.tokenizer


def _refuse_prompt(source: Path) -> None:
    """Raise CheckpointUnsupported if a cross-encoder has a default prompt.

    `CrossEncoder.predict` puts it before the first text of each pair; this project does not.
    """
    path = source / LIBRARY_CONFIG
    if path.is_file():
        with refusing_damage(path):
            config = json.loads(path.read_text(encoding="utf-8"))
            prompt = (config.get("prompts") or {}).get(config.get("default_prompt_name"))
        if prompt and config.get("model_type") == "CrossEncoder":
            raise CheckpointUnsupported(str(source), f"needs the prompt {prompt!r} before pairs; unsupported")


def _describe(
    fetched: FetchedSource, folder: Path, head: Head, limits: dict[str, Any], wanted: ImportOptions
) -> Manifest:
    kind: Kind = head.kind
    draft = Manifest(
        name=fetched.name,
        task=head.task,
        kind=kind,
        base_model=fetched.name,
        revision=fetched.revision,
        threshold=KIND_SPECS[kind].threshold,
        **limits,
    )
    rounded = wanted.weights not in (None, stored_as(fetched.folder))
    return finish(folder, draft, source=folder if rounded else fetched.folder)
