"""The pretrained model that a run starts from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoTokenizer

import pipelines.gated_conv
import pipelines.two_layers  # noqa: F401  both register their architectures
from pipelines.checkpoints.importing import longest_input, refuse_without_vocabulary
from pipelines.checkpoints.loading import refusing_damage
from pipelines.checkpoints.pickles import refuse_unsafe_pickles
from pipelines.checkpoints.sources import fetch
from pipelines.errors import CheckpointDamaged


@dataclass(frozen=True)
class Base:
    """A Hub id at its commit, or the absolute path of a folder or zip file that all machines of a cluster see."""

    source: str
    name: str
    revision: str | None

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
                local_files_only=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **config,
            )
        new = {*report["missing_keys"], *(key for key, *_shapes in report["mismatched_keys"])}
        lacking = [key for key in new if _of_encoder(model, key) and "pooler." not in key]
        if lacking:
            raise CheckpointDamaged(self.source, f"its weights lack {', '.join(sorted(lacking)[:3])}")
        return model, tokenizer


def cut_at(most: int, tokenizer: Any, config: Any) -> int:
    """The tokens at which inputs are cut: `most`, or as many as the model reads. The tokenizer, wherever it is saved,
    says so, and the checkpoint that is made of it is served with the same cut."""
    longest = longest_input(config, tokenizer.model_max_length)
    tokenizer.model_max_length = most if longest is None else min(most, longest)
    return int(tokenizer.model_max_length)


def _of_encoder(model: Any, key: str) -> bool:
    return model.base_model is model or key.startswith(f"{model.base_model_prefix}.")
