"""The QA model deployment: the best answer spans of each window."""

from typing import Any

from ray import serve

from deployments.model_replica import ModelReplica
from deployments.settings import QaSettings
from pipelines.checkpoints import golden
from pipelines.checkpoints.resolve import resolve
from pipelines.format.verify import verify


@serve.deployment
class QaExtractor(ModelReplica):
    """Rows are the null span and the best spans of a window (1 + spans_per_window,)."""

    def __init__(self, settings: QaSettings) -> None:
        from pipelines.qa import model  # engines are for the replicas that run them

        folder = resolve(settings.checkpoint, "qa")
        manifest = verify(folder, "qa")
        self._windows = manifest.windows_with(settings.windows)  # refused before the model is loaded
        extractor = model.load(folder, manifest, settings.engine, spans_per_window=settings.spans_per_window)
        golden.check(folder, manifest, extractor)
        super().__init__(manifest, extractor.limited(self._windows.max_answer_length), settings.batch)

    def info(self) -> dict[str, Any]:
        """As of every model, and the windows that contexts are cut into."""
        return super().info() | {"windows": self._windows.model_dump()}

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Read by `deployments.autoscaling`."""
        return self.load()
