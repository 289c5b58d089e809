from uuid import uuid4

import numpy as np

from deployments.metrics.tokenizer import TokenizerMetrics
from pipelines.text.token_batch import TokenBatch
from tests.deployments.metrics.samples import value
from tests.deployments.sums import CHECKPOINT


def test_inputs_tokens_and_truncations_are_counted() -> None:
    labels = {"task": "sts", "checkpoint": str(uuid4())}
    batch = TokenBatch(
        checkpoint=CHECKPOINT,
        ids=np.arange(5, dtype=np.int32),
        types=np.zeros(5, dtype=np.uint8),
        lengths=np.array([2, 3], dtype=np.int32),
        truncated=np.array([False, True]),
    )
    metrics = TokenizerMetrics(**labels)
    metrics.tokenized(0.5, batch)
    metrics.tokenized(0.25, batch)
    assert value("munjang_items_total", labels) == 4
    assert value("munjang_tokens_total", labels) == 10
    assert value("munjang_truncations_total", labels) == 2
    assert value("munjang_tokenize_seconds_sum", labels) == 0.75
    assert value("munjang_tokenize_seconds_count", labels) == 2
