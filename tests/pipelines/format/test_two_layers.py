from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, BertModel, PreTrainedModel

from pipelines.format.two_layers import TwoLayersForSequenceClassification
from tests.checkpoint_factory import bert_config
from tests.conftest import MakeCheckpoint

IDS = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.fixture
def model() -> TwoLayersForSequenceClassification:
    torch.manual_seed(0)
    return TwoLayersForSequenceClassification.on(BertModel(bert_config()), num_labels=1).eval()


def test_transformers_loads_a_saved_model(model: PreTrainedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    loaded, report = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    with torch.inference_mode():
        torch.testing.assert_close(loaded.eval()(IDS, MASK).logits, model(IDS, MASK).logits)


def test_padding_does_not_change_the_logits(model: PreTrainedModel) -> None:
    with torch.inference_mode():
        together = model(IDS, attention_mask=MASK).logits
        alone = model(IDS[1:, :3]).logits
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=0)


def test_token_types_are_seen(model: PreTrainedModel) -> None:
    with torch.inference_mode():
        one, other = (model(IDS, MASK, torch.full_like(IDS, kind)).logits for kind in (0, 1))
    assert not torch.allclose(one, other)


def test_every_weight_takes_part(model: PreTrainedModel) -> None:
    model(IDS, MASK).logits.sum().backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("kind", ["bare-encoder", "extractor-roberta", "classifier-distilbert"])
def test_any_encoder_will_do(checkpoint: MakeCheckpoint, kind: str) -> None:
    encoder = AutoModel.from_pretrained(checkpoint(kind)).eval()
    model = TwoLayersForSequenceClassification.on(encoder, num_labels=1).eval()
    with torch.inference_mode():
        states = encoder(IDS, attention_mask=MASK).last_hidden_state
        torch.testing.assert_close(model.encoder(IDS, attention_mask=MASK).last_hidden_state, states)
        assert model(IDS, MASK).logits.shape == (2, 1)


def test_a_saved_model_is_not_loaded_as_a_bare_encoder(model: PreTrainedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="TwoLayersConfig"):
        AutoModel.from_pretrained(tmp_path)
