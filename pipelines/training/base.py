"""The pretrained model that a training run starts from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoTokenizer

import pipelines.format.architectures  # noqa: F401  registers the project's architectures
from pipelines.checkpoints.limits import longest_input
from pipelines.checkpoints.sources import fetch
from pipelines.checkpoints.tokenizers import refuse_without_vocabulary
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.loading import refusing_damage
from pipelines.format.pickles import refuse_unsafe_pickles


@dataclass(frozen=True)
class Base:
    """A pretrained model, from the Hub or from a path that all machines of a cluster can read.

    source             the Hub id, or the absolute path of a folder or zip file
    name               the name for people
    revision           the commit on the Hub; None for a path
    attention_dropout  dropout probability of attention weights in training; None: the value in the model's config
    layers             the number of layers to keep, evenly spread from the first to the last; None: all
    """

    source: str
    name: str
    revision: str | None
    attention_dropout: float | None = None
    layers: int | None = None

    @classmethod
    def find(cls, source: str) -> Self:
        """Find the base that the user names. Raises CheckpointNotFound, CheckpointUnsafe, CheckpointDamaged."""
        with fetch(source) as fetched:
            refuse_unsafe_pickles(fetched.folder)
            refuse_without_vocabulary(fetched.folder)
            location = fetched.name if fetched.revision else str(Path(source).resolve())
            return cls(location, fetched.name, fetched.revision)

    def load(self, model_class: Any, **config: Any) -> tuple[Any, Any]:
        """Load (a `model_class` in float32, its tokenizer), with `config` replacing values of the model's config.

        Weights of the head that the base lacks, or has in another shape, are initialized from torch's seed. In the
        encoder only the pooler may be missing. Raises as `find`, and CheckpointUnsupported as `keep_layers`.
        """
        with self.folder() as folder:
            return self._load(folder, model_class, config)

    @property
    def config_changes(self) -> dict[str, float]:
        """The config values that set the attention dropout. Architectures name it differently, so both keys are given;
        transformers ignores a key that a config does not have."""
        if self.attention_dropout is None:
            return {}
        return dict.fromkeys(("attention_probs_dropout_prob", "attention_dropout"), self.attention_dropout)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """The folder with the files of the base, which exists as long as the context. Raises as `find`."""
        with fetch(self.source, self.revision) as fetched:
            refuse_unsafe_pickles(fetched.folder)
            yield fetched.folder

    def _load(self, folder: Path, model_class: Any, config: dict[str, Any]) -> tuple[Any, Any]:
        with refusing_damage(folder):
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
            model, report = model_class.from_pretrained(
                folder,
                config=AutoConfig.from_pretrained(folder, local_files_only=True, **config, **self.config_changes),
                local_files_only=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        new = {*report["missing_keys"], *(key for key, *_shapes in report["mismatched_keys"])}
        lacking = [key for key in new if _is_encoder_key(model, key) and "pooler." not in key]
        if lacking:
            raise CheckpointDamaged(self.source, f"its weights lack {', '.join(sorted(lacking)[:3])}")
        keep_layers(model, self.layers)
        return model, tokenizer


def keep_layers(model: Any, count: int | None) -> None:
    """Remove layers of a transformers model in place, so that `count` evenly spread ones remain; None keeps all.

    The first layer always remains, and the last if `count` is above 1. Raises CheckpointUnsupported if the model has
    fewer layers, or does not hold them in exactly one ModuleList.
    """
    if count is None:
        return
    layers = [
        (owner, name, child)
        for owner in model.modules()
        for name, child in owner.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == getattr(model.config, "num_hidden_layers", None)
    ]
    if len(layers) != 1 or count > len(layers[0][2]):
        raise CheckpointUnsupported(model.config.model_type, f"can't be cut to {count} layers")
    owner, name, whole = layers[0]
    kept = np.linspace(0, len(whole) - 1, count).round().astype(int).tolist()
    setattr(owner, name, nn.ModuleList(whole[number] for number in kept))
    model.config.num_hidden_layers = count


def limit_tokens(most: int, tokenizer: Any, model: Any) -> int:
    """Set and return the number of tokens at which the tokenizer cuts inputs: `most`, or the model's limit if that is
    lower. It is saved with the tokenizer, so that the exported checkpoint cuts inputs at the same length."""
    tokenizer.model_max_length = longest_input(model, tokenizer, most)
    return int(tokenizer.model_max_length)


def _is_encoder_key(model: Any, key: str) -> bool:
    return model.base_model is model or key.startswith(f"{model.base_model_prefix}.")
