"""What sentence-transformers' `encode` and `similarity` do beside the modules of a model."""

import json
from pathlib import Path
from typing import Any

from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.loading import refusing_damage

CONFIG = "config_sentence_transformers.json"
USED = {"prompts", "default_prompt_name", "truncate_dim", "similarity_fn_name"}
WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {"model_type": ("SentenceTransformer",), "precision": ("float32",)}
"""Keys that change nothing if they have one of these values."""
MODULE_SETTINGS = ("query_length", "document_length", "query_expansion", "processing_kwargs")
"""Settings of sentence-transformers' Transformer that change how it tokenizes a text."""


def refuse_unknown_settings(source: Path) -> None:
    """Raise CheckpointUnsupported, naming the key, if `encode` may do something that is not done here.

    Raises CheckpointDamaged if the prompts are no texts.
    """
    for key, value in _read(source).items():
        if key == "prompts":
            _refuse_other_prompts(value, source / CONFIG)
        if key in USED or key.startswith("__") or value is None or value in WITHOUT_EFFECT.get(key, ()):
            continue
        why = f"sets {key} to {value!r}, which is not supported; remove it if it can be"
        raise CheckpointUnsupported(str(source / CONFIG), why)


def _refuse_other_prompts(value: Any, path: Path) -> None:
    if not isinstance(value, dict) or not all(prompt is None or isinstance(prompt, str) for prompt in value.values()):
        raise CheckpointDamaged(str(path), 'its prompts are not an object of texts, such as {"query": "query: "}')


def served_dimensions(model: SentenceTransformer, source: Path) -> int | None:
    """The number of dimensions to which `encode` cuts embeddings, after all modules; None: it does not cut.

    Raises CheckpointUnsupported if texts are tokenized in a special way, or embeddings not compared by their cosines.
    """
    config = _read(source)
    refuse_module_settings(model, source)
    dimensions = config.get("truncate_dim")
    if dimensions is not None and not (isinstance(dimensions, int) and dimensions >= 1):
        raise CheckpointUnsupported(str(source / CONFIG), f"truncate_dim {dimensions!r} is not a number of dimensions")
    _refuse_similarity(config.get("similarity_fn_name"), model, source / CONFIG, cut=dimensions is not None)
    return dimensions


def _read(source: Path) -> dict[str, Any]:
    path = source / CONFIG
    if not path.is_file():
        return {}
    with refusing_damage(path):
        return dict(json.loads(path.read_text(encoding="utf-8")))


def refuse_module_settings(model: SentenceTransformer | CrossEncoder, source: Path) -> None:
    """Raise CheckpointUnsupported, naming the setting, if a model tokenizes texts in a special way."""
    for name in MODULE_SETTINGS:
        if getattr(model[0], name, None):
            raise CheckpointUnsupported(
                str(source), f"its {type(model[0]).__name__} sets {name}, which is not supported"
            )


def _refuse_similarity(name: str | None, model: SentenceTransformer, path: Path, *, cut: bool) -> None:
    """Refuse all but the cosine, and the dot product of embeddings of unit length, which is the same."""
    if name in (None, "cosine"):
        return
    if name != "dot":
        raise CheckpointUnsupported(str(path), f"similarity_fn_name {name!r} is not served; only the cosine is")
    if cut or not isinstance(list(model)[-1], Normalize):
        why = "similarity_fn_name 'dot' is served only if the last module is Normalize and truncate_dim is not set"
        raise CheckpointUnsupported(str(path), why)
