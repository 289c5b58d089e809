"""The whole graph: the tokenizer and the model of each task, the chat and the job runner that
call them, and the ingress.

`serve_config.yaml` names `build` and has its settings under `args:`. The options in this file are defaults of Serve's
own settings. The `deployments:` section of `serve_config.yaml` overrides them, also on a running graph.
"""

# No `from __future__ import annotations`: Serve needs the class of `settings` in the annotation of `build`. With a
# string it would pass an unvalidated dict.

from typing import Any

from ray.serve import Application
from ray.serve.config import BackpressureConfig

from deployments.ingress import Ingress
from deployments.job_runner import JobRunner
from deployments.models import ColaClassifier, QaExtractor, StsEncoder
from deployments.persona_chat import PersonaChat
from deployments.settings import Settings
from deployments.tokenizer import Tokenizer

DEFAULT_OPTIONS: dict[str, Any] = {
    # By default a replica reserves a whole CPU, and on a small machine eight replicas would never all start.
    "ray_actor_options": {"num_cpus": 0.05},
    # An update starts new replicas before it stops old ones. By default Serve would first stop the only replica.
    "max_surge_percent": 100,
    "max_ongoing_requests": 64,
    "max_queued_requests": 256,
    "health_check_period_s": 2,
    # Serve replaces a replica that misses three checks in a row.
    "health_check_timeout_s": 4,
    "graceful_shutdown_wait_loop_s": 0.5,
    "graceful_shutdown_timeout_s": 20,
    "max_constructor_retry_count": 3,
}
# Serve applies these to the numbers that `deployments.autoscaling` returns: up at once, down after a minute and
# in steps. Replicas and callers report every `metrics_interval_s` seconds, by default 10, what they saw in
# `look_back_period_s`. Serve calls the former deprecated and names environment variables, which Ray 2.60 does not use.
SCALING: dict[str, Any] = {
    "min_replicas": 1,
    "max_replicas": 2,
    "metrics_interval_s": 2,
    "look_back_period_s": 12,
    "upscale_delay_s": 0,
    "downscale_delay_s": 60,
    "downscaling_factor": 0.8,
}
BY_REQUESTS = SCALING | {"target_ongoing_requests": 16}
BY_WORK = SCALING | {"target_ongoing_requests": 2}  # calls, each with many items, where the application has no policy
CHAT_OPTIONS: dict[str, Any] = {
    # Chats may wait long for a provider. All of them together must leave the ingress room for other tasks.
    "max_ongoing_requests": 256,
    "max_queued_requests": 64,
    "autoscaling_config": BY_REQUESTS | {"target_ongoing_requests": 224},
}
HAPROXY_CONNECTIONS = 4096  # HAProxy's default
MARGIN_S = 5.0  # after a request's deadline, to return its answer


def build(settings: Settings) -> Application:
    """Build the application that `serve run` starts. Reads no file and loads no model: the replicas do."""
    traced = settings.tracing
    sts_encoder = _with_options(StsEncoder, autoscaling_config=BY_WORK).bind(settings.sts, traced)
    cola_classifier = _with_options(ColaClassifier, autoscaling_config=BY_WORK).bind(settings.cola, traced)
    qa_extractor = _with_options(QaExtractor, autoscaling_config=BY_WORK).bind(settings.qa, traced)
    tokenizer = _with_options(Tokenizer, autoscaling_config=BY_REQUESTS)
    sts_tokenizer = tokenizer.options(name="StsTokenizer").bind(
        settings.sts.checkpoint, "sts", sts_encoder, outputs=settings.sts.outputs, tracing=traced
    )
    cola_tokenizer = tokenizer.options(name="ColaTokenizer").bind(
        settings.cola.checkpoint, "cola", cola_classifier, outputs=settings.cola.outputs, tracing=traced
    )
    qa_tokenizer = tokenizer.options(name="QaTokenizer").bind(
        settings.qa.checkpoint, "qa", qa_extractor, settings.qa.windows, tracing=traced
    )
    # A stream that takes longer than a JSON request may take is cut off if its replica stops.
    persona_chat = _with_options(PersonaChat, **CHAT_OPTIONS, **_stops_after(settings.ingress.deadline_s)).bind(
        settings, sts=(sts_tokenizer, sts_encoder), qa=(qa_tokenizer, qa_extractor)
    )
    tasks = {
        "sts": (sts_tokenizer, sts_encoder),
        "cola": (cola_tokenizer, cola_classifier),
        "qa": (qa_tokenizer, qa_extractor),
    }
    job_runner = _with_options(JobRunner, autoscaling_config=BY_REQUESTS).bind(settings, **tasks)
    ingress = _with_options(
        Ingress,
        **_stops_after(max(settings.ingress.deadline_s, settings.ingress.upload_deadline_s)),
        # The app itself refuses requests, once it has their bodies: until then a slow client takes no one's place.
        max_ongoing_requests=HAPROXY_CONNECTIONS,
        max_queued_requests=HAPROXY_CONNECTIONS,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
        autoscaling_config=BY_REQUESTS | {"target_ongoing_requests": 256},
    )
    application: Application = ingress.bind(settings, **tasks, chat=persona_chat, job_runner=job_runner)
    return application


def _stops_after(deadline_s: float) -> dict[str, float]:
    """Give a stopping replica the time to finish the requests that it has accepted."""
    return {"graceful_shutdown_timeout_s": max(DEFAULT_OPTIONS["graceful_shutdown_timeout_s"], deadline_s + MARGIN_S)}


def _with_options(deployment: Any, **options: Any) -> Any:
    return deployment.options(**DEFAULT_OPTIONS | options)
