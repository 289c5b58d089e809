"""The STS model deployment: embeds sentences, or scores pairs with a cross-encoder."""

from ray import serve

from deployments.batching.cache import RowCache
from deployments.model_replica import ModelReplica
from deployments.settings import StsSettings
from pipelines.checkpoints import golden
from pipelines.checkpoints.resolve import resolve
from pipelines.format.verify import verify


@serve.deployment
class StsEncoder(ModelReplica):
    """Rows are embeddings of unit length (dimensions,), or scores of pairs."""

    def __init__(self, settings: StsSettings) -> None:
        from pipelines.sts import model

        folder = resolve(settings.checkpoint, "sts")
        manifest = verify(folder, "sts")
        encoder = model.load(folder, manifest, settings.engine)
        golden.check(folder, manifest, encoder)
        cache = RowCache(settings.cache_bytes) if settings.cache_bytes else None
        super().__init__(manifest, encoder, settings.batch, cache)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Read by `deployments.autoscaling`."""
        return self.load()
