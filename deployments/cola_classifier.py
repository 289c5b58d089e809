"""The CoLA model deployment: the probability that a passage is acceptable."""

from ray import serve

from deployments.model_replica import ModelReplica
from deployments.settings import ColaSettings
from pipelines.checkpoints import golden
from pipelines.checkpoints.resolve import resolve
from pipelines.format.verify import verify


@serve.deployment
class ColaClassifier(ModelReplica):
    """Rows are probabilities of class 1."""

    def __init__(self, settings: ColaSettings) -> None:
        from pipelines.cola import model  # engines are for the replicas that run them

        folder = resolve(settings.checkpoint, "cola")
        manifest = verify(folder, "cola")
        classifier = model.load(folder, manifest, settings.engine)
        golden.check(folder, manifest, classifier)
        super().__init__(manifest, classifier, settings.batch)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Read by `deployments.autoscaling`."""
        return self.load()
