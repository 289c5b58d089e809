"""Loading with sentence-transformers, which takes a second and 100 MB to import: only who embeds sentences does."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sentence_transformers import SentenceTransformer

from pipelines.errors import CheckpointDamaged, CheckpointUnsafe, CheckpointUnsupported
from pipelines.format.loading import refusing_damage
from pipelines.format.manifest import Prompts

QUERY = ("query",)
DOCUMENT = ("document", "passage", "corpus")
MODULES = {"Transformer", "StaticEmbedding", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout"}


def load_sentence_transformer(folder: Path, config: Mapping[str, Any] | None = None) -> SentenceTransformer:
    """`SentenceTransformer(folder)` on the CPU, of modules of the library's own, never of ones the folder brings along;
    with these keys of its encoder's config changed, of those that it has.

    Its weights are float32, whatever they are stored as.
    Raises CheckpointUnsafe where `modules.json` names code from elsewhere, CheckpointUnsupported for modules that are
    not served here, CheckpointDamaged as `load_transformers`.
    """
    _refuse_modules(folder)
    with refusing_damage(folder):
        model = SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            model_kwargs={"dtype": "float32"},
            config_kwargs=dict(config) if config else None,
        )
        return model.float()  # a table of token embeddings takes no dtype


def served_prompts(model: SentenceTransformer, source: str) -> Prompts:
    """What `encode`, `encode_query` and `encode_document` put before a text, each for one role.

    Unlike there, an empty prompt counts as none. The library gives each model without "query" or "document" an empty
    one, and would use that: E5's "passage" would never be looked at, nor the default prompt. Here the next name is, and
    where there is a prompt neither for queries nor for documents, both have the default one.

    Raises CheckpointUnsupported, naming `source`, where the pooling leaves out the prompt's tokens; CheckpointDamaged
    where a prompt is no text.
    """
    default = "" if model.default_prompt_name is None else model.prompts[model.default_prompt_name]
    query, document = _first(model, QUERY), _first(model, DOCUMENT)
    if not query and not document:
        query = document = default
    try:
        prompts = Prompts(symmetric=default, query=query, document=document)
    except ValidationError as error:
        raise CheckpointDamaged(source, "a prompt of it is no text") from error
    if prompts != Prompts() and not all(getattr(module, "include_prompt", True) for module in model):
        raise CheckpointUnsupported(source, "its pooling leaves out prompts (include_prompt is false), ours does not")
    return prompts


def _first(model: SentenceTransformer, names: Sequence[str]) -> str:
    """The first prompt of these names that is not empty."""
    return next((model.prompts[name] for name in names if model.prompts.get(name)), "")


def _refuse_modules(folder: Path) -> None:
    path = folder / "modules.json"
    if not path.is_file():
        return
    with refusing_damage(path):
        types = [str(module["type"]) for module in json.loads(path.read_text(encoding="utf-8"))]
    if not all(kind.startswith("sentence_transformers.") for kind in types):
        raise CheckpointUnsafe(str(path), "names modules that are not sentence-transformers' own")
    unknown = {kind.rpartition(".")[2] for kind in types} - MODULES
    if unknown:
        raise CheckpointUnsupported(str(path), f"no task here serves modules of type {', '.join(sorted(unknown))}")
