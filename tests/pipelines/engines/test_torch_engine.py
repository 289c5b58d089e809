from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
from torch import nn
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

from pipelines.engines.choice import EngineSettings
from pipelines.engines.torch_engine import PaddedArrays, SentenceTransformerEngine, TorchEngine, flat_arrays
from pipelines.text.token_batch import TokenBatch
from tests.conftest import MakeCheckpoint
from tests.pipelines.engines.batches import batch_of, cpu, random_batch

BATCH = batch_of([2, 9, 3], [2, 10, 11, 12, 13, 14, 3], [2, 3])


def engine(
    folder: Path, pad_id: int = 0, auto_class: Any = AutoModelForSequenceClassification, **settings: Any
) -> TorchEngine:
    return TorchEngine(auto_class.from_pretrained(folder), cpu(**settings), pad_id=pad_id)


def test_padding_has_the_pad_id_type_0_and_mask_0(imported: MakeCheckpoint) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(imported("classifier"))
    padded = PaddedArrays(model, 7)(BATCH)
    assert padded["input_ids"].tolist()[0] == [2, 9, 3, 7, 7, 7, 7]
    assert padded["token_type_ids"].tolist()[2] == [1, 1, 0, 0, 0, 0, 0]
    assert padded["attention_mask"].sum(axis=1).tolist() == [3, 7, 2]
    assert all(array.dtype == np.int64 for array in padded.values())


def test_a_result_does_not_depend_on_the_rest_of_the_batch(imported: MakeCheckpoint) -> None:
    run = engine(imported("classifier"))
    together = run.outputs(BATCH, "logits")[0]
    alone = [run.outputs(TokenBatch.take([(BATCH, i)]), "logits")[0][0] for i in range(len(BATCH))]
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_the_pad_id_does_not_change_results(imported: MakeCheckpoint) -> None:
    results = [engine(imported("classifier"), pad_id).outputs(BATCH, "logits")[0] for pad_id in (0, 20)]
    np.testing.assert_allclose(*results, rtol=0, atol=1e-6)


def test_models_without_token_types_get_none(imported: MakeCheckpoint) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(imported("classifier-distilbert"))
    assert "token_type_ids" not in PaddedArrays(model, 0)(BATCH)


def test_models_with_one_segment_ignore_the_types_of_a_tokenizer_with_two(imported: MakeCheckpoint) -> None:
    run = engine(imported("extractor-roberta"), 1, AutoModelForQuestionAnswering)
    zeros = batch_of([2, 9, 3], [2, 10, 11, 12, 13, 14, 3], [2, 3], kind=0)
    np.testing.assert_array_equal(run.outputs(BATCH, "start_logits")[0], run.outputs(zeros, "start_logits")[0])


def test_several_outputs_are_returned_in_the_requested_order(imported: MakeCheckpoint) -> None:
    run = engine(imported("extractor"), auto_class=AutoModelForQuestionAnswering)
    start, end = run.outputs(BATCH, "start_logits", "end_logits")
    again_end, again_start = run.outputs(BATCH, "end_logits", "start_logits")
    assert start.shape == (3, 7)
    assert not np.array_equal(start, end)
    np.testing.assert_array_equal(start, again_start)
    np.testing.assert_array_equal(end, again_end)


def test_the_model_is_in_eval_mode_and_in_the_requested_dtype(imported: MakeCheckpoint) -> None:
    module = AutoModelForSequenceClassification.from_pretrained(imported("classifier")).train()
    made = TorchEngine(module, cpu(dtype="bfloat16", slots=3), pad_id=0)
    assert not module.training
    assert {weight.dtype for weight in module.parameters()} == {torch.bfloat16}
    assert (made.name, made.slots) == ("torch bfloat16 on cpu", 3)
    assert made.outputs(BATCH, "logits")[0].dtype == np.float32


@pytest.mark.parametrize("threads", [2, 1])
def test_the_number_of_threads_comes_from_the_settings(threads: int) -> None:
    TorchEngine(nn.Identity(), cpu(threads=threads), pad_id=0)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("setting", [{"device": "tpu"}, {"dtype": "int4"}, {"threads": 0}, {"thread": 1}])
def test_bad_settings_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(setting))):
        EngineSettings(**setting)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("dtype", "rounding"), [("bfloat16", 0.03), ("float16", 0.004)])
def test_half_precision_is_close_to_float32(
    imported: MakeCheckpoint, dtype: str, rounding: float, packed: bool
) -> None:
    batch = random_batch([30, 4, 55], 100)
    single, half = (
        TorchEngine(AutoModelForQuestionAnswering.from_pretrained(imported("extractor")), choice, pad_id=0, packed=last)
        for choice, last in ((cpu(), False), (cpu(dtype=dtype), packed))
    )
    exact, rough = (engine.outputs(batch, "start_logits")[0][batch.mask] for engine in (single, half))
    assert ("packed" in half.name) == packed
    assert 0 < np.linalg.norm(rough - exact) < rounding * np.linalg.norm(exact)


def test_threads_of_one_engine_do_not_mix_up_their_batches(imported: MakeCheckpoint) -> None:
    run = engine(imported("classifier"))
    batches = [random_batch([length, 5], 100, seed=length) for length in range(2, 34)]
    expected = [run.outputs(batch, "logits")[0] for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        for result, alone in zip(threads.map(lambda b: run.outputs(b, "logits")[0], batches), expected, strict=True):
            np.testing.assert_array_equal(result, alone)


def mean_pooling(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu")


def all_poolings_and_dense(folder: Path) -> SentenceTransformer:
    modes = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
    modules = [Transformer(str(folder)), Pooling(32, modes), Dense(6 * 32, 12)]
    return SentenceTransformer(modules=modules, device="cpu")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("kind", "make"),
    [("bi-encoder", mean_pooling), ("bare-encoder", all_poolings_and_dense), ("extractor-roberta", mean_pooling)],
)
def test_embeddings_equal_those_of_sentence_transformers(
    imported: MakeCheckpoint, kind: str, make: Callable[[Path], SentenceTransformer], packed: bool
) -> None:
    texts = ["오늘 과제는 코딩 과제입니다.", "a", "", "값 " * 40, "The museum is in Busan."]
    torch.manual_seed(0)
    model = make(imported(kind))
    theirs = model.encode(texts, normalize_embeddings=True)
    ours = SentenceTransformerEngine(model, cpu(), packed=packed)
    result = ours.outputs(batch_of(*model.tokenizer(texts)["input_ids"], kind=0), "sentence_embedding")[0]
    assert ours.name == "torch float32 on cpu" + ", packed" * packed
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, theirs, rtol=0, atol=1e-5)


def test_static_embeddings_equal_those_of_sentence_transformers(imported: MakeCheckpoint) -> None:
    model = mean_pooling(imported("static"))
    texts = ["오늘 과제는 코딩 과제입니다.", "값", "The museum"]
    theirs = model.encode(texts, normalize_embeddings=True)
    ids = [encoding.ids for encoding in model.tokenizer.encode_batch(texts, add_special_tokens=False)]
    ours = SentenceTransformerEngine(model, cpu(), packed=True)
    assert ours.name == "torch float32 on cpu"
    np.testing.assert_allclose(ours.outputs(batch_of(*ids), "sentence_embedding")[0], theirs, rtol=0, atol=1e-6)


def test_a_text_without_tokens_has_a_zero_embedding(imported: MakeCheckpoint) -> None:
    ours = SentenceTransformerEngine(mean_pooling(imported("static")), cpu())
    assert flat_arrays(batch_of([], [5]))["offsets"].tolist() == [0, 0]
    assert (ours.outputs(batch_of([]), "sentence_embedding")[0] == 0).all()
