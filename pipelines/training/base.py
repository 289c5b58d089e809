"""The pretrained model that a run starts from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoTokenizer

import pipelines.format.architectures  # noqa: F401  registers those of the project
from pipelines.checkpoints.importing import longest_input, refuse_without_vocabulary
from pipelines.checkpoints.sources import fetch
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.loading import refusing_damage
from pipelines.format.pickles import refuse_unsafe_pickles


@dataclass(frozen=True)
class Base:
    """A Hub id at its commit, or the absolute path of a folder or zip file that all machines of a cluster see.

    attention_dropout  of attention weights while training; None: as the base's config says
    layers             how many of its layers are kept, evenly spread from the first to the last; None: all
    """

    source: str
    name: str
    revision: str | None
    attention_dropout: float | None = None
    layers: int | None = None

    @classmethod
    def find(cls, source: str) -> Self:
        """The base that a user names. Raises CheckpointNotFound, CheckpointUnsafe, CheckpointDamaged."""
        with fetch(source) as fetched:
            refuse_unsafe_pickles(fetched.folder)
            refuse_without_vocabulary(fetched.folder)
            place = fetched.name if fetched.revision else str(Path(source).resolve())
            return cls(place, fetched.name, fetched.revision)

    def load(self, model_class: Any, **config: Any) -> tuple[Any, Any]:
        """(`model_class` in float32, tokenizer), with these changes to the config; new weights come from torch's seed.

        New is a head that the base lacks, or has in another shape; of its encoder nothing but the pooler may be.
        Raises as `find`.
        """
        with self.folder() as folder:
            return self._load(folder, model_class, config)

    @property
    def config_changes(self) -> dict[str, float]:
        """Keys of transformers' configs that say how much attention drops out; a config has one of them, or none, and
        transformers leaves out those that it does not have."""
        if self.attention_dropout is None:
            return {}
        return dict.fromkeys(("attention_probs_dropout_prob", "attention_dropout"), self.attention_dropout)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Its files, for as long as the context lasts. Raises as `find`."""
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
        lacking = [key for key in new if _of_encoder(model, key) and "pooler." not in key]
        if lacking:
            raise CheckpointDamaged(self.source, f"its weights lack {', '.join(sorted(lacking)[:3])}")
        keep_layers(model, self.layers)
        return model, tokenizer


def keep_layers(model: Any, count: int | None) -> None:
    """Take layers out of a transformers model, in place, so that `count` are left, evenly spread; None: all.

    The first and the last stay. Raises CheckpointUnsupported where there are fewer, or they are not one list.
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


def cut_at(most: int, tokenizer: Any, config: Any) -> int:
    """The tokens at which inputs are cut: `most`, or as many as the model reads. The tokenizer, wherever it is saved,
    says so, and the checkpoint that is made of it is served with the same cut."""
    longest = longest_input(config, tokenizer.model_max_length)
    tokenizer.model_max_length = most if longest is None else min(most, longest)
    return int(tokenizer.model_max_length)


def _of_encoder(model: Any, key: str) -> bool:
    return model.base_model is model or key.startswith(f"{model.base_model_prefix}.")
