"""Two dense layers on the mean of an encoder's token vectors, as a transformers architecture: any encoder will do.

Importing this module registers it, after which `AutoModelForSequenceClassification.from_pretrained(folder)` loads its
checkpoints. The heads that come with transformers differ between encoders: one layer on BERT's own pooler, two on
RoBERTa's first token. This one is the same on all of them.
"""

from typing import Any, Self

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class TwoLayersConfig(PreTrainedConfig):  # type: ignore[misc]
    """The encoder's own config, and the dropout before each of the two layers; saved as config.json."""

    model_type = "two_layers"
    sub_configs = {"encoder": AutoConfig}  # noqa: RUF012  transformers' own way to declare it

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
        """Of a token's vector."""
        return int(self.encoder.hidden_size)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding table."""
        return int(self.encoder.vocab_size)

    @property
    def type_vocab_size(self) -> int:
        """Token types that the encoder tells apart."""
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
            self.encoder.pooler = None  # of which the mean has no use
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @classmethod
    def on(cls, encoder: PreTrainedModel, num_labels: int) -> Self:
        """New layers on an encoder's weights."""
        model = cls(TwoLayersConfig(encoder.config, num_labels=num_labels))
        model.encoder.load_state_dict(encoder.state_dict(), strict=False)  # which has a pooler
        return model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Logits (batch, labels); without a mask no token is padding, without types all are 0."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        states = self.encoder(input_ids, attention_mask=attention_mask, **types, **kwargs).last_hidden_state
        mask = input_ids.new_ones(input_ids.shape) if attention_mask is None else attention_mask
        weights = mask[..., None].to(states.dtype)  # (batch, tokens, 1)
        mean = (states * weights).sum(dim=1) / weights.sum(dim=1)
        dense = nn.functional.gelu(self.dense(self.dropout(mean)))
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(dense)))


AutoConfig.register(TwoLayersConfig.model_type, TwoLayersConfig)
AutoModelForSequenceClassification.register(TwoLayersConfig, TwoLayersForSequenceClassification)
