"""Merge PEFT adapters, such as LoRA, into their base models with the library `peft`.

An adapter is a folder with `adapter_config.json` and the few weights that were trained; the rest is the base model's.
`peft` only computes the sums: the files are read here, nothing is downloaded by it, and no pickle is run.
"""

import dataclasses
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel

from pipelines.checkpoints.heads import SPAN_OUTPUTS, architecture
from pipelines.checkpoints.lightning import copy_tokenizer
from pipelines.checkpoints.sources import PICKLED_ADAPTER, FetchedSource, errors_naming, fetch
from pipelines.errors import CheckpointDamaged, CheckpointNotFound, CheckpointUnsupported, install_hint
from pipelines.format.inert_pickles import StoredTensor
from pipelines.format.kinds import CLASSIFIER, EXTRACTOR
from pipelines.format.loading import refusing_damage
from pipelines.format.pickles import refuse_unsafe_pickles
from pipelines.format.torch_files import read_torch_file
from pipelines.format.weights import narrowest, store_as, stored_as

CONFIG = "adapter_config.json"
SAFE = "adapter_model.safetensors"
MERGEABLE = ("LORA", "ADALORA", "IA3", "LOHA", "LOKR", "OFT")
"""Types whose files contain all that was trained, and which can be added to the base model's weights."""

UNMERGEABLE = {
    "megatron_config": "needs Megatron",
    "alora_invocation_tokens": "is active only after certain tokens (aLoRA)",
    "arrow_config": "chooses between several adapters (Arrow)",
}
AUTO_CLASSES = {
    "SEQ_CLS": CLASSIFIER.auto_class,
    "QUESTION_ANS": EXTRACTOR.auto_class,
    "FEATURE_EXTRACTION": AutoModel,
}
TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model")


@contextmanager
def merged_adapter(fetched: FetchedSource, base: str | None) -> Iterator[FetchedSource]:
    """A PEFT adapter merged into its base model, while the context lasts; any other source unchanged."""
    if not is_adapter(fetched.folder):
        if base is not None:
            raise CheckpointUnsupported(str(fetched.folder), "a whole model, which has no use for a base model")
        yield fetched
        return
    with _base_of_adapter(fetched.folder, base) as on, TemporaryDirectory(prefix="munjang-") as scratch:
        refuse_unsafe_pickles(on.folder)
        with errors_naming(str(fetched.folder), Path(scratch)):
            write_merged(fetched.folder, on.folder, Path(scratch))
        yield FetchedSource(Path(scratch), f"{fetched.name} on {on.name}", fetched.revision)


@contextmanager
def _base_of_adapter(adapter: Path, base: str | None) -> Iterator[FetchedSource]:
    """The base model of an adapter. Raises CheckpointNotFound, which says that `base` can name another place."""
    named = base or base_of(adapter)
    with ExitStack() as opened:
        try:
            on = opened.enter_context(fetch(named))
        except CheckpointNotFound as error:
            raise CheckpointNotFound(
                named, f"{error.why}; the base model of an adapter; --base names another"
            ) from error
        yield on


def is_adapter(folder: Path) -> bool:
    """Whether the folder is a PEFT adapter. Raises CheckpointUnsupported for one inside of a model's folder."""
    if (folder / CONFIG).is_file():
        return True
    inside = next(folder.glob(f"*/{CONFIG}"), None)
    if inside is not None:
        raise CheckpointUnsupported(str(inside), "an adapter inside of a model; merge it (merge_and_unload) and save")
    return False


def base_of(folder: Path) -> str:
    """The folder or Hub id of the adapter's base model, as its config names it. Raises CheckpointError."""
    settings = _settings(folder)
    base, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not base:
        raise CheckpointUnsupported(str(folder / CONFIG), "names no base model; give it with --base")
    return f"{base}@{revision}" if revision and not Path(base).exists() else str(base)


def write_merged(adapter: Path, base: Path, folder: Path) -> None:
    """Write the model that the adapter makes of the base model, as a folder of transformers or sentence-transformers.

    The tokenizer is the adapter's, or the base model's if the adapter has none. The sums are computed in float32; the
    result is stored in 16 bits only if base and adapter both are. Raises CheckpointError, also if a weight of the
    model is neither in the base nor in the adapter.
    """
    settings, state = _settings(adapter), _weights(adapter)
    task = _task(adapter, settings)
    model = _base_model(adapter, base, task, state)
    with refusing_damage(adapter), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what peft warns of, missing weights and unknown settings, is refused here
        merged = _merge(adapter, model, settings, state, task)
    halves = {narrowest(value.dtype for value in state.values()), stored_as(base)}
    store_as(merged, halves.pop() if len(halves) == 1 else "float32", adapter)
    merged.save_pretrained(folder)
    _copy_files(adapter, base, folder, modules=task == "FEATURE_EXTRACTION")


def _settings(adapter: Path) -> dict[str, Any]:
    path = adapter / CONFIG
    with refusing_damage(path):
        settings = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise CheckpointDamaged(str(path), "not a JSON object")
    return settings


def _weights(adapter: Path) -> dict[str, torch.Tensor]:
    """The adapter's tensors by their names in the file."""
    if (adapter / SAFE).is_file():
        with refusing_damage(adapter / SAFE):
            return dict(load_file(adapter / SAFE))
    file = read_torch_file(adapter / PICKLED_ADAPTER)
    content = file.content if isinstance(file.content, dict) else {}
    stored = {str(key): value for key, value in content.items() if isinstance(value, StoredTensor)}
    if not stored or len(stored) != len(content):
        raise CheckpointDamaged(str(adapter / PICKLED_ADAPTER), "holds more than tensors, or none")
    return file.tensors(stored)


def _task(adapter: Path, settings: Mapping[str, Any]) -> str:
    """One of `AUTO_CLASSES`. Raises CheckpointUnsupported, naming the type or task that is not served."""
    path, kind = str(adapter / CONFIG), settings.get("peft_type")
    if kind not in MERGEABLE:
        raise CheckpointUnsupported(path, f"an adapter of the type {kind}; only {', '.join(MERGEABLE)} can be merged")
    for setting, why in UNMERGEABLE.items():
        if settings.get(setting):
            raise CheckpointUnsupported(path, f"{setting} is set: it {why}, which can't be merged")
    wrapped = (settings.get("auto_mapping") or {}).get("base_model_class") or "Model"
    suffixes = {"ForSequenceClassification": "SEQ_CLS", "ForQuestionAnswering": "QUESTION_ANS"}
    guessed = next((task for suffix, task in suffixes.items() if wrapped.endswith(suffix)), "FEATURE_EXTRACTION")
    task = settings.get("task_type") or (guessed if wrapped.endswith(("Model", *suffixes)) else wrapped)
    if task not in AUTO_CLASSES:
        raise CheckpointUnsupported(path, f"an adapter for {task}; only {', '.join(AUTO_CLASSES)} are served")
    return str(task)


def _base_model(adapter: Path, base: Path, task: str, state: Mapping[str, torch.Tensor]) -> Any:
    """The base model in float32, with a head and an embedding table of the sizes that the adapter has.

    Raises CheckpointDamaged if weights are missing that the adapter does not supply either.
    """
    supplied = {_plain(key): value for key, value in state.items()}
    with refusing_damage(base):
        config = AutoConfig.from_pretrained(base, local_files_only=True)
    if task == "SEQ_CLS":
        heads = architecture(CLASSIFIER, base).outputs & supplied.keys()
        config.num_labels = next((supplied[key].shape[0] for key in heads), config.num_labels)
    if task == "QUESTION_ANS":
        config.num_labels = SPAN_OUTPUTS
    with refusing_damage(base):
        model, report = AUTO_CLASSES[task].from_pretrained(
            base,
            config=config,
            local_files_only=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    absent = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])} - supplied.keys()
    if task == "FEATURE_EXTRACTION":
        absent = {key for key in absent if not key.startswith("pooler.")}  # pooling here is the library's, not this
    if absent:
        why = f"neither the base model {base.name} nor the adapter has the weights {', '.join(sorted(absent)[:3])}"
        raise CheckpointDamaged(str(adapter), why)
    _resize_embeddings(model, supplied)
    return model


def _plain(key: str) -> str:
    """The base model's name of a weight that peft saved whole, such as a classifier."""
    parts = key.removeprefix("base_model.model.").split(".")
    return ".".join(part for part in parts if part not in ("modules_to_save", "default"))


def _resize_embeddings(model: Any, supplied: Mapping[str, torch.Tensor]) -> None:
    table = model.get_input_embeddings().weight
    name = next(name for name, value in model.named_parameters() if value is table)
    rows = supplied[name].shape[0] if name in supplied else table.shape[0]
    if rows != table.shape[0]:
        model.resize_token_embeddings(rows)


def _merge(adapter: Path, model: Any, settings: Mapping[str, Any], state: Mapping[str, torch.Tensor], task: str) -> Any:
    try:
        import peft
    except ModuleNotFoundError as error:
        why = f"merging an adapter needs {error.name}; {install_hint('models')}"
        raise CheckpointUnsupported(str(adapter), why) from error
    wrappers = {
        "SEQ_CLS": peft.PeftModelForSequenceClassification,
        "QUESTION_ANS": peft.PeftModelForQuestionAnswering,
        "FEATURE_EXTRACTION": peft.PeftModelForFeatureExtraction,
    }
    wrapper = wrappers[task] if settings.get("task_type") else peft.PeftModel
    wrapped = wrapper(model, _peft_config(adapter, settings, peft))
    try:
        report = peft.set_peft_model_state_dict(wrapped, dict(state))
    except KeyError as error:
        raise CheckpointDamaged(str(adapter), f"its weights lack {error.args[0]}") from error
    unplaced = list(report.unexpected_keys)
    # Those without ".default" are the base model's; peft does not save the ranks of AdaLoRA, and sets them itself.
    lacking = [key for key in report.missing_keys if ".default" in key and ".ranknum." not in key]
    if unplaced or lacking:
        why = f"its base model has no place for {unplaced[0]}" if unplaced else f"its weights lack {lacking[0]}"
        raise CheckpointDamaged(str(adapter), f"{why}; was it trained on another base model? Give that with --base")
    return wrapped.merge_and_unload(safe_merge=True)


def _peft_config(adapter: Path, settings: Mapping[str, Any], peft: Any) -> Any:
    """peft's object of the settings. Raises CheckpointUnsupported for one that is set and that this version lacks."""
    known = {field.name for field in dataclasses.fields(peft.PEFT_TYPE_TO_CONFIG_MAPPING[settings["peft_type"]])}
    unknown = [key for key, value in settings.items() if key not in known and value]
    if unknown:
        why = f"peft {peft.__version__} does not know the setting {', '.join(unknown)}; install a newer one"
        raise CheckpointUnsupported(str(adapter / CONFIG), why)
    given = {key: value for key, value in settings.items() if key in known}
    if settings["peft_type"] == "ADALORA" and not given.get("total_step"):
        given["total_step"] = 1  # required, saved without, and of use only in training
    return peft.get_peft_config({**given, "inference_mode": True})


def _copy_files(adapter: Path, base: Path, folder: Path, *, modules: bool) -> None:
    """Copy the tokenizer and, of sentence-transformers, the modules; the adapter's files replace the base model's."""
    own = any(path for pattern in ("tokenizer.json", "vocab*", "*.model") for path in adapter.glob(pattern))
    copy_tokenizer(adapter, folder)
    copy_tokenizer(base, folder, but=TOKENIZER if own else ())
    for name in (CONFIG, *(() if modules else ("modules.json",))):
        (folder / name).unlink(missing_ok=True)
    for source in (adapter, base) if modules else ():
        for path in sorted(source.glob("[0-9]*_*/")):
            if path.is_dir() and not (folder / path.name).exists():
                shutil.copytree(path, folder / path.name)
