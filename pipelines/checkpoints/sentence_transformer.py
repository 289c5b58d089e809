"""Loading with sentence-transformers, which takes a second and 100 MB to import: only who embeds sentences does."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from pipelines.checkpoints.loading import refusing_damage
from pipelines.errors import CheckpointUnsafe, CheckpointUnsupported

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
