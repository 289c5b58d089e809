"""The metrics of a tokenizer replica."""

from prometheus_client import Counter, Histogram

from deployments.metrics.registry import REGISTRY, SECONDS
from pipelines.text.token_batch import TokenBatch

LABELS = ("task", "checkpoint")

TOKENIZE = Histogram(
    "munjang_tokenize_seconds",
    "Time in which a tokenizer replica tokenized the texts of a call.",
    LABELS,
    registry=REGISTRY,
    buckets=SECONDS,
)
ITEMS = Counter("munjang_items", "Inputs for the model, such as sentences and windows.", LABELS, registry=REGISTRY)
TOKENS = Counter("munjang_tokens", "Their tokens, without padding.", LABELS, registry=REGISTRY)
TRUNCATIONS = Counter(
    "munjang_truncations",
    "Those that were cut to fit the model; in QA, windows whose question was cut.",
    LABELS,
    registry=REGISTRY,
)


class TokenizerMetrics:
    """Records what one tokenizer replica does."""

    def __init__(self, task: str, checkpoint: str) -> None:
        self._tokenize = TOKENIZE.labels(task, checkpoint)
        self._items = ITEMS.labels(task, checkpoint)
        self._tokens = TOKENS.labels(task, checkpoint)
        self._truncations = TRUNCATIONS.labels(task, checkpoint)

    def tokenized(self, seconds: float, tokens: TokenBatch) -> None:
        """The texts of a call became these tokens."""
        self._tokenize.observe(seconds)
        self._items.inc(len(tokens))
        self._tokens.inc(len(tokens.ids))
        self._truncations.inc(int(tokens.truncated.sum()))
