import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.engines.equal_lengths import EqualLengths
from pipelines.text.token_batch import CheckpointRef, TokenBatch

REF = CheckpointRef("0" * 16, "classifier", 0.5)


class PaddingCounter:
    """An engine whose outputs count each item's padded tokens, as a model does whose results depend on padding."""

    name = "counter"
    slots = 2
    padding_cost = 1.0

    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        padded = (~batch.mask).sum(axis=1, dtype=np.float32)
        values = {
            "logits": np.stack((padded, batch.padded_ids(0)[:, 0].astype(np.float32)), axis=1),
            "start_logits": batch.padded_ids(-1).astype(np.float32),
        }
        return tuple(values[name] for name in names)


def batch_of(lengths: list[int]) -> TokenBatch:
    count = sum(lengths)
    return TokenBatch(
        checkpoint=REF,
        ids=np.arange(count, dtype=np.int32),
        types=np.zeros(count, dtype=np.uint8),
        lengths=np.array(lengths, dtype=np.int32),
        truncated=np.zeros(len(lengths), dtype=np.bool_),
    )


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12))
def test_no_item_is_padded_and_results_keep_the_order_of_the_items(lengths: list[int]) -> None:
    batch = batch_of(lengths)
    logits, starts = EqualLengths(PaddingCounter()).outputs(batch, "logits", "start_logits")
    assert logits[:, 0].tolist() == [0.0] * len(lengths)
    assert logits[:, 1].tolist() == batch.starts[:-1].tolist()
    assert starts.shape == (len(lengths), max(lengths))
    assert [row[:length].tolist() for row, length in zip(starts, lengths, strict=True)] == [
        list(range(start, start + length)) for start, length in zip(batch.starts, lengths, strict=False)
    ]


def test_the_name_says_that_nothing_is_padded() -> None:
    engine = EqualLengths(PaddingCounter())
    assert (engine.name, engine.slots) == ("counter, without padding", 2)


def test_padding_would_show_without_it() -> None:
    (logits,) = PaddingCounter().outputs(batch_of([1, 4]), "logits")
    assert logits[:, 0].tolist() == pytest.approx([3.0, 0.0])
