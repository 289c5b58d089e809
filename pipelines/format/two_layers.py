"""A transformers architecture: two dense layers on the mean of the token vectors of any encoder.

Importing this module registers the architecture, so that `AutoModelForSequenceClassification.from_pretrained(folder)`
loads its checkpoints. The heads in transformers differ between encoders: BERT has one layer on its pooler, RoBERTa has
two layers on its first token. This head is the same for all encoders.
"""

from typing import Any, Self

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class TwoLayersConfig(PreTrainedConfig):  # type: ignore[misc]
    """The encoder's config and the dropout probability before each of the two layers; saved as config.json."""

    model_type = "two_layers"
    sub_configs = {"encoder": AutoConfig}  # noqa: RUF012  transformers declares it this way

    def __init__(
        self, encoder: PreTrainedConfig | dict[str, Any] | None = None, dropout: float = 0.1, **kwargs: object
    ) -> None:
        fields = {"model_type": "bert"} if encoder is None else encoder
        self.encoder = AutoConfig.for_model(**fields) if isinstance(fields, dict) else fields
        self.dropout = dropout
        kwargs.setdefault("pad_token_id", self.encoder.pad_token_id)
        super().__init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Number of dimensions of a token vector."""
        return int(self.encoder.hidden_size)

    @property
    def vocab_size(self) -> int:
        """Number of rows of the embedding table."""
        return int(self.encoder.vocab_size)

    @property
    def type_vocab_size(self) -> int:
        """Number of token types that the encoder distinguishes."""
        return int(getattr(self.encoder, "type_vocab_size", 1))

    @property
    def initializer_range(self) -> float:
        """Standard deviation of new weights."""
        return float(getattr(self.encoder, "initializer_range", 0.02))


class TwoLayersForSequenceClassification(PreTrainedModel):  # type: ignore[misc]
    """mean -> dense -> GELU -> dense, with dropout before both layers."""

    config_class = TwoLayersConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: TwoLayersConfig) -> None:
        super().__init__(config)
        self.encoder = AutoModel.from_config(config.encoder)
        if hasattr(self.encoder, "pooler"):
            self.encoder.pooler = None  # the mean does not use it
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @classmethod
    def on(cls, encoder: PreTrainedModel, num_labels: int) -> Self:
        """A model with new layers on an encoder with its weights."""
        model = cls(TwoLayersConfig(encoder.config, num_labels=num_labels))
        model.encoder.load_state_dict(encoder.state_dict(), strict=False)  # the pooler's weights are left out
        return model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Logits (batch, labels). Without a mask there is no padding; without types all types are 0."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        states = self.encoder(input_ids, attention_mask=attention_mask, **types, **kwargs).last_hidden_state
        mask = input_ids.new_ones(input_ids.shape) if attention_mask is None else attention_mask
        weights = mask[..., None].to(states.dtype)  # (batch, tokens, 1)
        mean = (states * weights).sum(dim=1) / weights.sum(dim=1)
        dense = nn.functional.gelu(self.dense(self.dropout(mean)))
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(dense)))


AutoConfig.register(TwoLayersConfig.model_type, TwoLayersConfig)
AutoModelForSequenceClassification.register(TwoLayersConfig, TwoLayersForSequenceClassification)
