from pathlib import Path

import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

from pipelines.format.gated_conv import (
    ConvolutionAsProduct,
    GatedConvConfig,
    GatedConvForQuestionAnswering,
    GatedConvForSequenceClassification,
)

LENGTHS = (3, 11, 7)


def _config(**changes: object) -> GatedConvConfig:
    sizes = {"vocab_size": 50, "hidden_size": 16, "type_vocab_size": 3, "dilations": [1, 2, 4]}
    return GatedConvConfig(**{**sizes, **changes})


def _batch(pad_id: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    longest = max(LENGTHS)
    mask = torch.arange(longest)[None, :] < torch.tensor(LENGTHS)[:, None]
    ids = torch.randint(1, 50, mask.shape, generator=generator).where(mask, torch.tensor(pad_id))
    types = torch.randint(1, 3, mask.shape, generator=generator).where(mask, torch.tensor(0))
    types[:, :2] = 0
    return {"input_ids": ids, "attention_mask": mask.long(), "token_type_ids": types}


def _row(batch: dict[str, torch.Tensor], row: int) -> dict[str, torch.Tensor]:
    return {name: values[row : row + 1, : LENGTHS[row]] for name, values in batch.items()}


@torch.no_grad()
def test_classifier_answers_the_same_batched_and_one_by_one() -> None:
    torch.manual_seed(0)
    model = GatedConvForSequenceClassification(_config()).eval()
    batch = _batch()
    together = model(**batch).logits
    apart = torch.cat([model(**_row(batch, row)).logits for row in range(len(LENGTHS))])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)


@pytest.mark.parametrize("question_vector", [False, True])
@pytest.mark.parametrize("question_attention", [(), (0, 2)])
@torch.no_grad()
def test_extractor_answers_the_same_batched_and_one_by_one(
    question_vector: bool, question_attention: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    config = _config(question_vector=question_vector, question_attention=question_attention)
    model = GatedConvForQuestionAnswering(config).eval()
    batch = _batch()
    together = model(**batch)
    for row, length in enumerate(LENGTHS):
        alone = model(**_row(batch, row))
        torch.testing.assert_close(together.start_logits[row, :length], alone.start_logits[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(together.end_logits[row, :length], alone.end_logits[0], rtol=0, atol=1e-5)
        assert (together.start_logits[row, length:] < -1e30).all()


@torch.no_grad()
def test_what_stands_in_the_padding_does_not_matter() -> None:
    model = GatedConvForSequenceClassification(_config()).eval()
    assert torch.equal(model(**_batch(pad_id=0)).logits, model(**_batch(pad_id=9)).logits)


@torch.no_grad()
def test_missing_mask_and_types_mean_no_padding_and_type_0() -> None:
    model = GatedConvForSequenceClassification(_config()).eval()
    ids = torch.tensor([[1, 2, 3]])
    explicit = model(input_ids=ids, attention_mask=torch.ones_like(ids), token_type_ids=torch.zeros_like(ids))
    assert torch.equal(model(input_ids=ids).logits, explicit.logits)


@torch.no_grad()
def test_a_saved_classifier_loads_by_its_auto_class(tmp_path: Path) -> None:
    model = GatedConvForSequenceClassification(_config(num_labels=3)).eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert (tmp_path / "model.safetensors").is_file()
    assert isinstance(loaded, GatedConvForSequenceClassification)
    assert torch.equal(model(**_batch()).logits, loaded(**_batch()).logits)


@torch.no_grad()
def test_a_saved_extractor_loads_by_its_auto_class(tmp_path: Path) -> None:
    model = GatedConvForQuestionAnswering(_config(question_vector=True, question_attention=[1], overlap_types=1)).eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert (loaded.config.overlap_types, loaded.config.question_attention) == (1, [1])
    assert loaded.config.dilations == [1, 2, 4]
    assert torch.equal(model(**_batch()).end_logits, loaded(**_batch()).end_logits)


@pytest.mark.parametrize("way", [{"question_vector": True}, {"question_attention": [0]}])
def test_the_question_reaches_positions_beyond_the_convolutions(way: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = GatedConvForQuestionAnswering(_config(dilations=[1], **way)).eval()
    ids = torch.randint(1, 50, (1, 40))
    types = (torch.arange(40) >= 4).long()[None]
    other = ids.clone()
    other[0, 1] = ids[0, 1] % 49 + 1
    far = [model(input_ids=x, token_type_ids=types).start_logits[0, -1] for x in (ids, other)]
    assert far[0] != far[1]


def test_losses_are_those_of_cross_entropy() -> None:
    model = GatedConvForQuestionAnswering(_config()).eval()
    batch = _batch()
    starts, ends = torch.tensor([0, 2, 1]), torch.tensor([0, 5, 1])
    output = model(**batch, start_positions=starts, end_positions=ends)
    cross_entropy = torch.nn.functional.cross_entropy
    expected = (cross_entropy(output.start_logits, starts) + cross_entropy(output.end_logits, ends)) / 2
    torch.testing.assert_close(output.loss, expected)


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel_size 4"):
        _config(kernel_size=4)


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("dilation", [1, 2, 3, 8])
@pytest.mark.parametrize("tokens", [1, 2, 9, 40])
@torch.no_grad()
def test_a_product_gives_what_the_convolution_gives(kernel_size: int, dilation: int, tokens: int) -> None:
    torch.manual_seed(0)
    padding = dilation * (kernel_size - 1) // 2
    conv = torch.nn.Conv1d(8, 12, kernel_size, padding=padding, dilation=dilation)
    seen = torch.randn(3, 8, tokens)
    product = ConvolutionAsProduct(conv)(seen)
    assert product.shape == (3, 12, tokens)
    torch.testing.assert_close(product, conv(seen), rtol=0, atol=1e-6)


@pytest.mark.parametrize("question_vector", [False, True])
@torch.no_grad()
def test_a_model_that_multiplies_answers_as_before(question_vector: bool) -> None:
    torch.manual_seed(0)
    model = GatedConvForQuestionAnswering(_config(question_vector=question_vector, dilations=[1, 3], kernel_size=5))
    before = model.eval()(**_batch())
    model.multiply()
    model.multiply()  # which changes nothing more
    assert not any(isinstance(module, torch.nn.Conv1d) for module in model.modules())
    after = model(**_batch())
    torch.testing.assert_close(after.start_logits, before.start_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(after.end_logits, before.end_logits, rtol=0, atol=1e-5)
