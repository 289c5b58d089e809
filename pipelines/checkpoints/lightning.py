"""Convert PyTorch Lightning files, and plain files of weights, with the help of their base model."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig

from pipelines.checkpoints.heads import SPAN_OUTPUTS, TWO_NEEDED, architectures
from pipelines.checkpoints.prefixes import NO_HEAD, Architecture, Fit, fit
from pipelines.checkpoints.sources import FILE_PATTERNS, SAFETENSORS
from pipelines.errors import CheckpointDamaged, CheckpointNotFound, CheckpointUnsafe, CheckpointUnsupported
from pipelines.format.inert_pickles import StoredTensor, whole_object
from pipelines.format.kinds import CLASSIFIER, CROSS_ENCODER, EXTRACTOR, Head
from pipelines.format.loading import refusing_damage
from pipelines.format.pickle_machine import Inert
from pipelines.format.torch_files import read_torch_file
from pipelines.format.weights import narrowest, store_as

STATE_DICTS = ("state_dict", "model_state_dict", "module", "model")
"""Under which keys Lightning, people's own loops and DeepSpeed save weights; or the whole file is a state_dict."""
SHARD = re.compile(r"-\d{5}-of-\d{5}$")
"""How the names of the files end among which transformers divides a large model."""


def write_transformers(checkpoint: Path, base: Path, folder: Path) -> None:
    """Write a transformers folder from a file of weights and the folder of its base model.

    Config and tokenizer come from the base model. All weights come from the file and keep their number format. Raises
    CheckpointError.
    """
    fitted, state = _weights(checkpoint, base)
    head = _head_of(checkpoint, fitted.architecture, state)
    with refusing_damage(base):
        config = AutoConfig.from_pretrained(base, local_files_only=True)
        # What the base says of its own outputs means nothing here.
        config.num_labels = 1 if head is CROSS_ENCODER else 2
        config.problem_type = "regression" if head is CROSS_ENCODER else None
        model = head.auto_class.from_config(config, dtype=torch.float32)
    _fill(model, state, checkpoint)
    store_as(model, narrowest(value.dtype for value in state.values()), checkpoint)
    model.save_pretrained(folder)
    copy_tokenizer(base, folder)


def _weights(checkpoint: Path, base: Path) -> tuple[Fit, dict[str, torch.Tensor]]:
    """The architecture that the file's weights fit, and these weights without their wrappers' prefixes."""
    if SHARD.search(checkpoint.stem):
        why = "holds a part of a model's weights; import the folder that has all of them"
        raise CheckpointUnsupported(str(checkpoint), why)
    if checkpoint.suffix == SAFETENSORS:
        return _safe_weights(checkpoint, base)
    file = read_torch_file(checkpoint)
    state = _state_dict(checkpoint, file.content)
    tensors = {key: value for key, value in state.items() if isinstance(value, StoredTensor)}
    if not tensors:
        raise CheckpointDamaged(str(checkpoint), f"its state_dict holds no tensors{_first_class(state)}")
    fitted = fit(checkpoint, tensors, architectures(base))
    return fitted, file.tensors({name: tensors[key] for name, key in fitted.keys.items()})


def _safe_weights(checkpoint: Path, base: Path) -> tuple[Fit, dict[str, torch.Tensor]]:
    if not checkpoint.is_file():
        raise CheckpointNotFound(str(checkpoint), "there is no such file")
    with refusing_damage(checkpoint):
        state = load_file(checkpoint)
    fitted = fit(checkpoint, state, architectures(base))
    return fitted, {name: state[key] for name, key in fitted.keys.items()}


def _state_dict(checkpoint: Path, content: Any) -> dict[str, Any]:
    """The mapping of a file that holds the weights. Raises CheckpointUnsafe for a whole pickled model."""
    if isinstance(content, Inert) and not content.entries:
        raise CheckpointUnsafe(str(checkpoint), whole_object(content.kind))
    entries = _entries(content)
    usual = next((key for key in STATE_DICTS if key in entries), None)
    state = _only_weights(checkpoint, entries) if usual is None else entries[usual]
    if isinstance(state, Inert) and not state.entries:
        raise CheckpointUnsafe(str(checkpoint), whole_object(state.kind))
    if not _entries(state):
        raise CheckpointDamaged(str(checkpoint), "not a file of weights: it has no state_dict")
    return {str(key): value for key, value in _entries(state).items()}


def _only_weights(checkpoint: Path, entries: dict[Any, Any]) -> Any:
    """The entry of a file that holds weights, whatever its name; the file itself if its weights are in no entry.

    Raises CheckpointUnsupported, with the names, if there are several such entries.
    """
    found = {str(key): value for key, value in entries.items() if _has_tensors(_entries(value))}
    if len(found) > 1 and not _has_tensors(entries):
        why = f"holds weights under several names ({', '.join(found)}); save those of the model alone"
        raise CheckpointUnsupported(str(checkpoint), why)
    return entries if _has_tensors(entries) or not found else next(iter(found.values()))


def _has_tensors(entries: dict[Any, Any]) -> bool:
    return any(isinstance(value, StoredTensor) for value in entries.values())


def _entries(value: Any) -> dict[Any, Any]:
    if isinstance(value, Inert):
        return value.entries
    return value if isinstance(value, dict) else {}


def _first_class(state: Mapping[str, Any]) -> str:
    """The first weight that is an object of a class, such as a shard of a tensor that FSDP split."""
    found = next((f"; {key} is a {value.kind}" for key, value in state.items() if isinstance(value, Inert)), "")
    return f"{found}. Save whole tensors" if found else ""


def _head_of(checkpoint: Path, architecture: Architecture, state: Mapping[str, torch.Tensor]) -> Head:
    """The head, which is recognized by the names of its weights and its number of outputs."""
    if architecture.head is EXTRACTOR:
        if not architecture.outputs <= state.keys():
            raise CheckpointUnsupported(str(checkpoint), NO_HEAD + _other_head(architecture, state))
        for key in sorted(architecture.outputs, reverse=True):
            shape = tuple(state[key].shape)
            if shape[:1] != (SPAN_OUTPUTS,):
                raise CheckpointUnsupported(str(checkpoint), f"{key} has the shape {shape}; {TWO_NEEDED}")
        return EXTRACTOR
    outputs = {state[key].shape[0] for key in architecture.outputs if key in state and state[key].ndim}
    if len(outputs) != 1 or not outputs <= {1, 2}:
        found = f"; the head has {outputs.pop()} outputs, not 1 or 2" if len(outputs) == 1 else ""
        found = found or _other_head(architecture, state)
        raise CheckpointUnsupported(str(checkpoint), NO_HEAD + found)
    return CROSS_ENCODER if outputs == {1} else CLASSIFIER


def _other_head(architecture: Architecture, state: Mapping[str, torch.Tensor]) -> str:
    """Which weights of the head are missing, and which weights are there that the architecture does not have."""
    missing = sorted(architecture.outputs - state.keys())
    others = [key for key in state if key not in architecture.keys]
    instead = f"; it has {', '.join(others[:3])} instead" if others else ""
    return f": {architecture.name} has {', '.join(missing)}, the file has not{instead}"


def _fill(model: torch.nn.Module, state: Mapping[str, torch.Tensor], checkpoint: Path) -> None:
    """Load all of `state` into `model`.

    A weight without a place means that the file was tuned on another base model. Only position ids and unused poolers,
    which older versions saved too, may be left over.
    """
    try:
        missing, unknown = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        first = next((line.strip() for line in str(error).splitlines()[1:]), "")
        why = f"its weights' shapes are not those of the base model: {first} Was it trained on another?"
        raise CheckpointDamaged(str(checkpoint), why) from error
    if missing:
        raise CheckpointDamaged(str(checkpoint), f"its weights lack {', '.join(missing[:3])}")
    unplaced = [key for key in unknown if not _UNUSED.search(key)]
    if unplaced:
        raise CheckpointDamaged(str(checkpoint), f"the base model has no place for {', '.join(unplaced[:3])}")


_UNUSED = re.compile(r"\.position_ids$|(^|\.)pooler\.")


def copy_tokenizer(base: Path, folder: Path, but: Sequence[str] = ()) -> None:
    """Copy the tokenizer and other files that belong to no weights, unless the folder has a file of the same name.

    Files whose names match one of the patterns `but` are left out.
    """
    for pattern in FILE_PATTERNS:
        for path in base.glob(pattern):
            left_out = any(path.match(name) for name in (*_OF_WEIGHTS, *but))
            if not left_out and not (folder / path.name).exists():
                shutil.copy(path, folder / path.name)


_OF_WEIGHTS = ("*.safetensors", "*.index.json")
