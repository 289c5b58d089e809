"""The whole graph in one page: tokenizer and model of each task, the chat that stands on them, the ingress.

`serve_config.yaml` names `build` and holds its settings under `args:`. What stands here in each `options` is the
default of Serve's own settings; the `deployments:` section of the file overrides it, in place on a running graph.
"""

# No `from __future__ import annotations`: Serve inspects the real class of `settings`, and given a string it would
# pass an unvalidated dict.

from typing import Any

from ray.serve import Application
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, BackpressureConfig

from deployments.ingress import Ingress
from deployments.models import ColaClassifier, QaExtractor, StsEncoder
from deployments.persona_chat import PersonaChat
from deployments.settings import Settings
from deployments.tokenizer import Tokenizer

NODE: dict[str, Any] = {
    # A replica reserves a whole CPU unless told otherwise, and eight of them would wait for ever on a small machine.
    "ray_actor_options": {"num_cpus": 0.05},
    # An update starts new replicas before it stops old ones; unless told so, Serve would stop the only one first.
    "max_surge_percent": 100,
    "max_ongoing_requests": 64,
    "max_queued_requests": 256,
    "health_check_period_s": 5,
    "health_check_timeout_s": 10,
    "graceful_shutdown_wait_loop_s": 0.5,
    "graceful_shutdown_timeout_s": 20,
    "max_constructor_retry_count": 3,
}
BY_REQUESTS = {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 16}
BY_WORK = AutoscalingConfig(
    min_replicas=1,
    max_replicas=2,
    policy=AutoscalingPolicy(policy_function="deployments.autoscaling:by_waiting_work"),
)
MOSTLY_WAITING: dict[str, Any] = {
    # All chats of all replicas together leave room at the ingress for other tasks, however long a provider takes.
    "max_ongoing_requests": 256,
    "max_queued_requests": 64,
    "autoscaling_config": BY_REQUESTS | {"target_ongoing_requests": 224},
}
MARGIN_S = 5.0  # beyond a request's deadline, to hand its answer on


def build(settings: Settings) -> Application:
    """The application that `serve run` starts. Reads no file and loads no model: the replicas do."""
    sts_encoder = _node(StsEncoder, autoscaling_config=BY_WORK).bind(settings.sts)
    cola_classifier = _node(ColaClassifier, autoscaling_config=BY_WORK).bind(settings.cola)
    qa_extractor = _node(QaExtractor, autoscaling_config=BY_WORK).bind(settings.qa)
    tokenizer = _node(Tokenizer, autoscaling_config=BY_REQUESTS)
    sts_tokenizer = tokenizer.options(name="StsTokenizer").bind(settings.sts.checkpoint, "sts", sts_encoder)
    cola_tokenizer = tokenizer.options(name="ColaTokenizer").bind(settings.cola.checkpoint, "cola", cola_classifier)
    qa_tokenizer = tokenizer.options(name="QaTokenizer").bind(
        settings.qa.checkpoint, "qa", qa_extractor, settings.qa.windows
    )
    # Streams that take longer than a JSON request may are cut when their replica goes.
    persona_chat = _node(PersonaChat, **MOSTLY_WAITING, **_ends_after(settings.ingress.deadline_s)).bind(
        settings, sts=(sts_tokenizer, sts_encoder), qa=(qa_tokenizer, qa_extractor)
    )
    ingress = _node(
        Ingress,
        **_ends_after(max(settings.ingress.deadline_s, settings.ingress.upload_deadline_s)),
        max_ongoing_requests=1024,
        max_queued_requests=1024,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
        autoscaling_config=BY_REQUESTS | {"target_ongoing_requests": 256},
    )
    application: Application = ingress.bind(
        settings,
        sts=(sts_tokenizer, sts_encoder),
        cola=(cola_tokenizer, cola_classifier),
        qa=(qa_tokenizer, qa_extractor),
        chat=persona_chat,
    )
    return application


def _ends_after(deadline_s: float) -> dict[str, float]:
    """The time that a replica has, once it is to go, for the requests that it has taken."""
    return {"graceful_shutdown_timeout_s": max(NODE["graceful_shutdown_timeout_s"], deadline_s + MARGIN_S)}


def _node(deployment: Any, **options: Any) -> Any:
    return deployment.options(**NODE | options)
