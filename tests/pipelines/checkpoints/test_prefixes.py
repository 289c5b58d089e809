import logging
from pathlib import Path

import pytest

from pipelines.checkpoints.prefixes import Architecture, fit
from pipelines.errors import CheckpointUnsupported
from pipelines.format.kinds import CLASSIFIER, EXTRACTOR

FILE = Path("some.ckpt")
ENCODER = [f"bert.{part}.weight" for part in ("embeddings", "layer.0", "layer.1")]
QA = Architecture(EXTRACTOR, "BertQa", frozenset([*ENCODER, "qa_outputs.weight"]), frozenset(["qa_outputs.weight"]))
COLA = Architecture(
    CLASSIFIER, "BertCola", frozenset([*ENCODER, "classifier.weight"]), frozenset(["classifier.weight"])
)


def keys(prefix: str, head: str = "qa_outputs.weight") -> list[str]:
    return [f"{prefix}{key}" for key in (*ENCODER, head)]


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "model.", "module.", "net.", "_orig_mod.", "model._orig_mod.", "model.module.", "_forward_module.model."),
        *("module.model._orig_mod.", "_orig_mod.module.model.", "model._fsdp_wrapped_module.", "my_task.reader."),
        *("encoder.", "backbone.", "model.model.", "_forward_module._orig_mod.model.module."),
    ],
)
def test_prefixes_in_any_order_are_stripped_and_named(prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        fitted = fit(FILE, keys(prefix), [QA, COLA])
    assert fitted.architecture is QA
    assert fitted.keys == dict(zip([*ENCODER, "qa_outputs.weight"], keys(prefix), strict=True))
    assert [repr(prefix) in record.message for record in caplog.records] == ([True] if prefix else [])


@pytest.mark.parametrize("wrapper", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module"])
def test_wrappers_of_single_layers_are_stripped_and_named(wrapper: str, caplog: pytest.LogCaptureFixture) -> None:
    wrapped = [key.replace("layer.1", f"layer.1.{wrapper}") for key in keys("model.")]
    with caplog.at_level(logging.INFO):
        assert fit(FILE, wrapped, [QA, COLA]).keys["bert.layer.1.weight"] == f"model.bert.layer.1.{wrapper}.weight"
    assert f"'{wrapper}' inside of keys" in caplog.text


def test_the_head_decides_the_architecture() -> None:
    assert fit(FILE, keys("model.", "classifier.weight"), [QA, COLA]).architecture is COLA


def test_a_copy_under_an_unusual_name_is_left_out() -> None:
    fitted = fit(FILE, [*keys("ema."), *keys("model."), "metric.total"], [QA, COLA])
    assert fitted.keys["qa_outputs.weight"] == "model.qa_outputs.weight"


@pytest.mark.parametrize("prefixes", [("student.", "teacher."), ("model.", "net.")])
def test_two_models_of_equal_rank_are_refused_with_both_prefixes(prefixes: tuple[str, str]) -> None:
    both = [key for prefix in prefixes for key in keys(prefix)]
    with pytest.raises(CheckpointUnsupported, match=f"'{prefixes[0]}', '{prefixes[1]}'"):
        fit(FILE, both, [QA, COLA])


def test_the_same_weight_twice_is_refused() -> None:
    with pytest.raises(CheckpointUnsupported, match="the same weight"):
        fit(FILE, [*keys("model."), *keys("model._orig_mod.")], [QA, COLA])


def test_keys_that_fit_nothing_are_refused_with_their_prefix_and_the_first_of_them() -> None:
    with pytest.raises(CheckpointUnsupported, match=r"prefix is 'model\.gpt\.', and the first are model\.gpt\.a, mo"):
        fit(FILE, ["model.gpt.a", "model.gpt.b", "model.gpt.qa_outputs.weight"], [QA, COLA])
    with pytest.raises(CheckpointUnsupported, match="no common prefix"):
        fit(FILE, ["a.classifier.weight", "b.x"], [QA, COLA])


def test_keys_without_any_head_are_refused_with_the_heads_that_are_served() -> None:
    with pytest.raises(CheckpointUnsupported, match=r"no head.* classifier\.weight or qa_outputs\.weight.*'encoder\.'"):
        fit(FILE, ["encoder.embeddings.weight", "encoder.layer.0.weight"], [QA, COLA])
