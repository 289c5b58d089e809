"""The models of the chat, loaded from the shipped checkpoints into this process."""

import math

from pipelines.checkpoints.in_process import load_model
from pipelines.checkpoints.resolve import ROOT
from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import in_process, in_process_model
from pipelines.format.manifest import read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.qa.pipeline import QaPipeline
from pipelines.qa.window_tokenizer import WindowTokenizer
from pipelines.sts.pipeline import Embedding, EmbeddingPipeline

CHECKPOINTS = ROOT / "checkpoints"


class Shipped:
    """Embedding and extraction as the chat calls them; `extract` always returns a span."""

    def __init__(self) -> None:
        sts, qa = CHECKPOINTS / "sts", CHECKPOINTS / "qa"
        sts_manifest, qa_manifest = read_manifest(sts), read_manifest(qa)
        self.digest = sts_manifest.digest
        tokenize = in_process(TextTokenizer.load(sts, sts_manifest).passages)
        windows = in_process(WindowTokenizer.load(qa, qa_manifest).windows)
        encoder = in_process_model(load_model(sts, sts_manifest, EngineSettings()))
        extractor = in_process_model(load_model(qa, qa_manifest, EngineSettings()))
        self._embed = EmbeddingPipeline(tokenize, encoder, role="query")
        self.embed_sentences = EmbeddingPipeline(tokenize, encoder, role="document")
        self.extract = QaPipeline(windows, extractor, null_threshold=math.inf)

    async def embed(self, text: str) -> Embedding:
        (embedding,) = await self._embed([text])
        assert isinstance(embedding, Embedding)
        return embedding
