from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

from pipelines.engines.choice import Choice
from pipelines.engines.settings import EngineSettings
from pipelines.engines.torch_engine import TorchEngine
from pipelines.tokens import CheckpointRef, TokenBatch
from tests.conftest import MakeCheckpoint


def batch_of(*items: list[int], kind: int = 1) -> TokenBatch:
    flat = [token for item in items for token in item]
    return TokenBatch(
        checkpoint=CheckpointRef("digest", "classifier", 0.5),
        ids=np.array(flat, dtype=np.int32),
        types=np.full(len(flat), kind, dtype=np.uint8),
        lengths=np.array([len(item) for item in items], dtype=np.int32),
        truncated=np.zeros(len(items), dtype=np.bool_),
    )


CPU = Choice("torch", "cpu", "float32", threads=1, slots=1)
BATCH = batch_of([2, 9, 3], [2, 10, 11, 12, 13, 14, 3], [2, 3])


def engine(folder: Path, pad_id: int = 0, auto_class: Any = AutoModelForSequenceClassification) -> TorchEngine:
    return TorchEngine(auto_class.from_pretrained(folder), CPU, pad_id=pad_id)


def test_padding_carries_the_pad_id_type_0_and_no_attention(imported: MakeCheckpoint) -> None:
    padded = engine(imported("classifier"), pad_id=7).padded(BATCH)
    assert padded["input_ids"].tolist()[0] == [2, 9, 3, 7, 7, 7, 7]
    assert padded["token_type_ids"].tolist()[2] == [1, 1, 0, 0, 0, 0, 0]
    assert padded["attention_mask"].sum(dim=1).tolist() == [3, 7, 2]
    assert all(tensor.dtype == torch.int64 for tensor in padded.values())


def test_a_result_does_not_depend_on_the_rest_of_the_batch(imported: MakeCheckpoint) -> None:
    run = engine(imported("classifier"))
    together = run.outputs(BATCH, "logits")[0]
    alone = [run.outputs(TokenBatch.gather([(BATCH, i)]), "logits")[0][0] for i in range(len(BATCH))]
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_what_the_padding_holds_does_not_matter(imported: MakeCheckpoint) -> None:
    results = [engine(imported("classifier"), pad_id).outputs(BATCH, "logits")[0] for pad_id in (0, 20)]
    np.testing.assert_allclose(*results, rtol=0, atol=1e-6)


def test_models_without_token_types_get_none(imported: MakeCheckpoint) -> None:
    assert "token_type_ids" not in engine(imported("classifier-distilbert")).padded(BATCH)


def test_models_of_one_segment_run_on_the_tokens_of_a_tokenizer_with_two(imported: MakeCheckpoint) -> None:
    run = engine(imported("extractor-roberta"), 1, AutoModelForQuestionAnswering)
    zeros = batch_of([2, 9, 3], [2, 10, 11, 12, 13, 14, 3], [2, 3], kind=0)
    np.testing.assert_array_equal(run.outputs(BATCH, "start_logits")[0], run.outputs(zeros, "start_logits")[0])


def test_several_outputs_come_in_the_order_asked_for(imported: MakeCheckpoint) -> None:
    run = engine(imported("extractor"), auto_class=AutoModelForQuestionAnswering)
    start, end = run.outputs(BATCH, "start_logits", "end_logits")
    again_end, again_start = run.outputs(BATCH, "end_logits", "start_logits")
    assert start.shape == (3, 7)
    assert not np.array_equal(start, end)
    np.testing.assert_array_equal(start, again_start)
    np.testing.assert_array_equal(end, again_end)


def test_the_model_is_in_eval_mode_and_in_the_dtype_asked_for(imported: MakeCheckpoint) -> None:
    module = AutoModelForSequenceClassification.from_pretrained(imported("classifier")).train()
    made = TorchEngine(module, replace(CPU, dtype="bfloat16"), pad_id=0)
    assert not module.training
    assert {weight.dtype for weight in module.parameters()} == {torch.bfloat16}
    assert made.name == "torch bfloat16 on cpu"
    assert made.outputs(BATCH, "logits")[0].dtype == np.float32


@pytest.mark.parametrize("threads", [2, 1])
def test_threads_are_those_of_the_settings(threads: int) -> None:
    TorchEngine(nn.Identity(), replace(CPU, threads=threads), pad_id=0)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("setting", [{"device": "tpu"}, {"dtype": "int4"}, {"threads": 0}, {"thread": 1}])
def test_bad_settings_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(setting))):
        EngineSettings(**setting)
