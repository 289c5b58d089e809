"""Small stores for tests, embedded without a model."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.chat.store.build import build
from pipelines.chat.store.documents import Document
from pipelines.format.manifest import Role


class HashEmbedder:
    """Gives each text a fixed unit vector of 8 numbers, the same in every role; records the texts and roles."""

    def __init__(self, checkpoint: str = "0123456789abcdef") -> None:
        self.checkpoint = checkpoint
        self.embedded: list[str] = []
        self.roles: set[Role] = set()

    def embed(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        self.embedded += texts
        self.roles.add(role)
        seeds = [hashlib.sha256(text.encode()).digest() for text in texts]
        vectors = np.stack([np.random.default_rng(list(seed)).standard_normal(8) for seed in seeds])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def one(self, text: str) -> NDArray[np.float32]:
        return self.embed([text], "query")[0]


def make_store(folder: Path, *texts: str, checkpoint: str = "0123456789abcdef") -> Path:
    """Build a store with one document for each text: `0.txt`, `1.txt`, ..."""
    documents = [Document(f"{number}.txt", text) for number, text in enumerate(texts)]
    build(documents, folder, HashEmbedder(checkpoint))
    return folder
