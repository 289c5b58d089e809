"""The metrics of a model replica: its queue, its batches and its cache."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from deployments.metrics.registry import ITEMS, REGISTRY, SECONDS, TOKENS

LABELS = ("task", "engine", "checkpoint")

QUEUE_ITEMS = Gauge("munjang_queue_items", "Items waiting in the queue of a model replica.", LABELS, registry=REGISTRY)
QUEUE_TOKENS = Gauge("munjang_queue_tokens", "Their tokens, without padding.", LABELS, registry=REGISTRY)
QUEUE_AGE = Gauge("munjang_queue_age_seconds", "How long the oldest of them has waited.", LABELS, registry=REGISTRY)
QUEUE_WAIT = Histogram(
    "munjang_queue_wait_seconds",
    "How long the items of a call waited for their batch; a call in several batches counts several times.",
    LABELS,
    registry=REGISTRY,
    buckets=SECONDS,
)
FORWARD = Histogram(
    "munjang_forward_seconds", "Time of a batch in the model.", LABELS, registry=REGISTRY, buckets=SECONDS
)
BATCH_ITEMS = Histogram("munjang_batch_items", "Items of a batch.", LABELS, registry=REGISTRY, buckets=ITEMS)
BATCH_TOKENS = Histogram(
    "munjang_batch_tokens",
    "Tokens of a batch, padding included: longest item x items.",
    LABELS,
    registry=REGISTRY,
    buckets=TOKENS,
)
PADDING = Counter(
    "munjang_padding_tokens",
    "Padding among the tokens of all batches. Engines that run without padding do not compute it.",
    LABELS,
    registry=REGISTRY,
)
FAILURES = Counter(
    "munjang_engine_failures",
    "Batches that failed, without the halves of a failed batch that ran again.",
    LABELS,
    registry=REGISTRY,
)
CACHE_HITS = Counter("munjang_cache_hits", "Items found in the cache.", LABELS, registry=REGISTRY)
CACHE_MISSES = Counter("munjang_cache_misses", "Items not found in the cache.", LABELS, registry=REGISTRY)


class ModelMetrics:
    """Records what one model replica does. Several threads may call it."""

    def __init__(self, task: str = "", engine: str = "", checkpoint: str = "") -> None:
        labels = (task, engine, checkpoint)
        self._queue_items = QUEUE_ITEMS.labels(*labels)
        self._queue_tokens = QUEUE_TOKENS.labels(*labels)
        self._queue_age = QUEUE_AGE.labels(*labels)
        self._queue_wait = QUEUE_WAIT.labels(*labels)
        self._forward = FORWARD.labels(*labels)
        self._batch_items = BATCH_ITEMS.labels(*labels)
        self._batch_tokens = BATCH_TOKENS.labels(*labels)
        self._padding = PADDING.labels(*labels)
        self._failures = FAILURES.labels(*labels)
        self._cache_hits = CACHE_HITS.labels(*labels)
        self._cache_misses = CACHE_MISSES.labels(*labels)

    def watch_queue(self, items: Callable[[], float], tokens: Callable[[], float], age_s: Callable[[], float]) -> None:
        """Have the state of the queue read whenever the metrics are published."""
        self._queue_items.set_function(items)
        self._queue_tokens.set_function(tokens)
        self._queue_age.set_function(age_s)

    def waited(self, seconds: float) -> None:
        """Items of a call have left the queue."""
        self._queue_wait.observe(seconds)

    def ran(self, seconds: float, items: int, tokens: int, padded: int) -> None:
        """A batch of `items` with `tokens`, with padding `padded`, ran through the model."""
        self._forward.observe(seconds)
        self._batch_items.observe(items)
        self._batch_tokens.observe(padded)
        self._padding.inc(padded - tokens)

    def failed(self) -> None:
        """A batch failed."""
        self._failures.inc()

    def looked_up(self, hits: int, misses: int) -> None:
        """Items were looked up in the cache."""
        self._cache_hits.inc(hits)
        self._cache_misses.inc(misses)
