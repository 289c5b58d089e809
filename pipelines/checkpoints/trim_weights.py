"""Trim a model's table of token embeddings and renumber the token ids in its configuration."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch import nn
from transformers import AutoModel

from pipelines.checkpoints.trim_tokenizer import TokenIds
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.kinds import auto_class_of
from pipelines.format.loading import load_transformers
from pipelines.format.manifest import Manifest
from pipelines.format.sentence_transformer import load_sentence_transformer

CONFIG = "config.json"
CONFIGS = (CONFIG, "generation_config.json")
TOKENIZER_CONFIG = "tokenizer_config.json"
STALE = ("vocab.txt", "vocab.json", "merges.txt", "added_tokens.json", "*.model")
"""Files with the old vocabulary in the formats of other libraries; they are removed."""


def load_encoder(folder: Path, manifest: Manifest | None) -> nn.Module:
    """Load the model that holds the table: a bi-encoder's first module, or the encoder of a folder without manifest."""
    if manifest is None:
        return torch_module(load_transformers(AutoModel, folder, may_lack="pooler."))
    if manifest.kind != "bi-encoder":
        return torch_module(load_transformers(auto_class_of(manifest.kind), folder))
    first = load_sentence_transformer(folder)[0]
    return torch_module(first if isinstance(first, StaticEmbedding) else first.auto_model)


def torch_module(model: Any) -> nn.Module:
    """The model, typed as a torch module; its library has no types. Raises TypeError if it is none."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"{type(model).__name__} is not a torch module")
    return model


def table_of(encoder: Any) -> torch.Tensor:
    """The table of token embeddings, (rows, dimensions), with one row per token id."""
    table = encoder.embedding if isinstance(encoder, StaticEmbedding) else encoder.get_input_embeddings()
    return torch.as_tensor(table.weight)


def config_ids(folder: Path) -> set[int]:
    """All token ids in the model's configuration files."""
    named: set[int] = set()

    def note(number: int) -> int:
        named.add(number)
        return number

    for path in _existing(folder):
        _renumber(_read(path), note, {})
    return named


def trim_model(folder: Path, encoder: nn.Module, numbers: TokenIds) -> None:
    """Keep the rows of the remaining tokens in the folder's safetensors, and renumber ids in its configuration files.

    Raises CheckpointUnsupported if no file holds the table, or if positions start at the pad id and that would change.
    Raises CheckpointDamaged if a token has no row.
    """
    table = table_of(encoder)
    if numbers.kept[-1] >= len(table):
        raise CheckpointDamaged(
            str(folder), f"has token ids up to {numbers.kept[-1]}, but its embedding table only {len(table)} rows"
        )
    _refuse_moved_positions(folder, encoder, numbers)
    names = {name for name, weights in encoder.named_parameters(remove_duplicate=False) if weights is table}
    selected = [_select_rows(path, names, numbers) for path in sorted(folder.glob("*.safetensors"))]
    if not any(selected):
        raise CheckpointUnsupported(str(folder), f"its weights hold no {' or '.join(sorted(names))}")
    _trim_configs(folder, len(table), numbers)


def _refuse_moved_positions(folder: Path, encoder: nn.Module, numbers: TokenIds) -> None:
    """Raise CheckpointUnsupported if the pad id would change in RoBERTa-like models, whose positions start after it."""
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Embedding) and "position" in name and module.padding_idx is not None:
            before = module.padding_idx
            if numbers.moved.get(before) != before:
                raise CheckpointUnsupported(
                    str(folder), f"positions are counted from the pad id {before}, which would change"
                )


def _select_rows(path: Path, names: set[str], numbers: TokenIds) -> bool:
    """Reduce the named tensors of the file to the kept rows. Returns whether the file holds one of them."""
    with safe_open(path, framework="pt") as file:
        held, metadata = names & set(file.keys()), file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()} if held else {}  # noqa: SIM118  not a mapping
    for name in held:
        tensors[name] = tensors[name][list(numbers.kept)].contiguous()
    if held:
        save_file(tensors, path, metadata=metadata)
        path.chmod(0o644)  # the library makes it readable only for the owner
    return bool(held)


def _trim_configs(folder: Path, rows: int, numbers: TokenIds) -> None:
    moved = numbers.moved
    for path in _existing(folder):
        _write(path, _renumber(_read(path), lambda number: moved.get(number, number), {rows: len(moved)}))
    path = folder / TOKENIZER_CONFIG
    tokens: Mapping[str, Any] | None = _read(path).get("added_tokens_decoder") if path.is_file() else None
    if tokens is not None:
        decoder = {str(moved[int(number)]): token for number, token in tokens.items()}
        _write(path, {**_read(path), "added_tokens_decoder": decoder})
    for pattern in STALE:
        for stale in folder.glob(pattern):
            stale.unlink()


def _renumber(value: Any, move: Callable[[int], int], sizes: Mapping[int, int]) -> Any:
    """A copy with `move(id)` for every `..._token_id`, also nested, and `sizes[size]` for every `vocab_size`."""
    if not isinstance(value, dict):
        return value
    return {name: _renumber_entry(name, inner, move, sizes) for name, inner in value.items()}


def _renumber_entry(name: str, value: Any, move: Callable[[int], int], sizes: Mapping[int, int]) -> Any:
    if name.endswith("_token_id"):
        numbers = value if isinstance(value, list) else [value]
        moved = [number if number is None else move(int(number)) for number in numbers]
        return moved if isinstance(value, list) else moved[0]
    if name == "vocab_size":
        return sizes.get(value, value)
    return _renumber(value, move, sizes)


def _existing(folder: Path) -> list[Path]:
    return [folder / name for name in CONFIGS if (folder / name).is_file()]


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
