"""Embed texts with the code that serves requests: the STS checkpoint's tokenizer and engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipelines.checkpoints.in_process import load_model
from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import Model
from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import Manifest, Role, verify
from pipelines.format.tokenizer import TextTokenizer

BATCH_TOKENS = 4096


class Embedder:
    """An STS checkpoint that embeds passages and questions. `checkpoint` is its digest."""

    def __init__(self, tokenizer: TextTokenizer, model: Model, manifest: Manifest) -> None:
        self.checkpoint = manifest.digest
        self._tokenizer = tokenizer
        self._model = model

    @classmethod
    def load(cls, folder: Path, settings: EngineSettings | None = None) -> Self:
        """Load a checkpoint.

        Raises CheckpointUnsupported where it gives no embeddings, and what `verify` and the model's `load` raise.
        """
        manifest = verify(folder, "sts")
        if manifest.kind != "bi-encoder":
            raise CheckpointUnsupported(str(folder), f"a {manifest.kind} scores pairs and gives no embeddings")
        return cls(
            TextTokenizer.load(folder, manifest), load_model(folder, manifest, settings or EngineSettings()), manifest
        )

    def embed(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        """Embed one or more texts of one role: (texts, dimension) in the order of the texts, of unit length."""
        tokens = self._tokenizer.passages(texts, role)
        batches = list(tokens.by_length(BATCH_TOKENS))
        vectors = np.concatenate([self._model.run(tokens.select(batch)) for batch in batches])
        return np.asarray(vectors, dtype=np.float32)[np.argsort(np.concatenate(batches))]
