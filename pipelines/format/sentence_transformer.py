"""Load and save models with sentence-transformers.

Import this module only to embed sentences: sentence-transformers takes a second and 100 MB to import.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sentence_transformers import SentenceTransformer

from pipelines.errors import CheckpointDamaged, CheckpointUnsafe, CheckpointUnsupported
from pipelines.format.encode_settings import CONFIG
from pipelines.format.loading import refusing_damage
from pipelines.format.manifest import Prompts

QUERY = ("query",)
DOCUMENT = ("document", "passage", "corpus")
MODULES = {"Transformer", "StaticEmbedding", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout"}


def load_sentence_transformer(
    folder: Path, config: Mapping[str, Any] | None = None, *, any_shapes: bool = False
) -> SentenceTransformer:
    """Load `SentenceTransformer(folder)` on the CPU; modules with code in the folder are refused.

    `config` changes keys that the encoder's config has. The weights are converted to float32, however they are stored.
    With `any_shapes`, weights of the encoder that do not fit its config become random: the caller has to refuse them.
    Raises CheckpointUnsafe if `modules.json` names code from outside the library, CheckpointUnsupported for modules
    that this project does not serve, and CheckpointDamaged in the same cases as `load_transformers`.
    """
    _refuse_modules(folder)
    with refusing_damage(folder):
        model = SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            model_kwargs={"dtype": "float32", "ignore_mismatched_sizes": any_shapes},
            config_kwargs=dict(config) if config else None,
        )
        return model.float()  # StaticEmbedding ignores the dtype above


def save_sentence_transformer(model: SentenceTransformer, folder: Path) -> None:
    """Save a model, so that its files are the same on all machines with the same version of the library.

    The library also writes the version of PyTorch, which names the build of this machine, such as 2.13.0+cpu.
    """
    model.save(str(folder), create_model_card=False)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config["__version__"].pop("pytorch", None)
    (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")


def served_prompts(model: SentenceTransformer, source: str) -> Prompts:
    """The prompts that `encode`, `encode_query` and `encode_document` put before a text, by role.

    Unlike in the library, an empty prompt counts as missing. The library adds an empty "query" and "document" prompt to
    every model that has none, and would use these: it would never look at E5's "passage" prompt or at the default
    prompt. Here the next name is tried; if there is no prompt for queries or documents, both use the default prompt.

    Raises CheckpointUnsupported, naming `source`, if the pooling excludes the tokens of prompts, and CheckpointDamaged
    if a prompt is not text.
    """
    default = "" if model.default_prompt_name is None else model.prompts[model.default_prompt_name]
    query, document = _first(model, QUERY), _first(model, DOCUMENT)
    if not query and not document:
        query = document = default
    try:
        prompts = Prompts(symmetric=default, query=query, document=document)
    except ValidationError as error:
        raise CheckpointDamaged(source, "one of its prompts is not text") from error
    if prompts != Prompts() and not all(getattr(module, "include_prompt", True) for module in model):
        raise CheckpointUnsupported(source, "its pooling excludes prompts (include_prompt is false); unsupported")
    return prompts


def _first(model: SentenceTransformer, names: Sequence[str]) -> str:
    """The first prompt with one of these names that is not empty."""
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
