"""The QA model deployment: the best answer spans of each window."""

from ray import serve

from deployments.model_replica import ModelReplica
from deployments.settings import QaSettings
from pipelines import golden
from pipelines.checkpoints.resolve import resolve
from pipelines.checkpoints.verify import verify


@serve.deployment
class QaExtractor(ModelReplica):
    """Rows are the null span and the best spans of a window (1 + spans_per_window,)."""

    def __init__(self, settings: QaSettings) -> None:
        from pipelines.qa import model  # engines are for the replicas that run them

        folder = resolve(settings.checkpoint, "qa")
        manifest = verify(folder, "qa")
        extractor = model.load(folder, manifest, settings.engine, spans_per_window=settings.spans_per_window)
        golden.check(folder, manifest, extractor)
        longest = manifest.windows_with(settings.windows).max_answer_length
        super().__init__(manifest, extractor.limited(longest), settings.batch)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Read by `deployments.autoscaling`."""
        return self.load()
