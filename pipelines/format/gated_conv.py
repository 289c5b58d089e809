"""Residual gated 1-d convolutions as a transformers architecture: small, fast on a CPU, trained from scratch.

Importing this module registers it, after which `AutoModelForSequenceClassification.from_pretrained(folder)` and
`AutoModelForQuestionAnswering.from_pretrained(folder)` load its checkpoints. Gating after Dauphin et al. 2017
(https://arxiv.org/abs/1612.08083). It has no positions and no attention but to a question, so it reads any length, at
a cost that hardly grows faster.
"""

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import QuestionAnsweringModelOutput, SequenceClassifierOutput

from pipelines.format.question_layers import QuestionAttention, QuestionVector, same_tokens

QUESTION_TYPE = 0


class GatedConvConfig(PreTrainedConfig):  # type: ignore[misc]
    """Sizes of a model; saved as its config.json.

    dilations           one residual block each; a block sees `kernel_size` tokens, this far apart
    question_vector     half way up, all positions learn what the question (token type 0) is about
    question_attention  before these blocks, counted from 0, each position attends to the question's tokens
    attention_heads     of each of them; divides `hidden_size`
    overlap_types       how many token types, from 2 up, the checkpoint expects on context tokens that share a bigram
                        with the question (see `WindowMaker`); `true` in older checkpoints is 1
    """

    model_type = "gated_conv"

    def __init__(
        self,
        vocab_size: int = 4096,
        hidden_size: int = 128,
        type_vocab_size: int = 2,
        kernel_size: int = 3,
        dilations: tuple[int, ...] | list[int] = (1, 1, 1),
        dropout: float = 0.1,
        question_vector: bool = False,
        question_attention: tuple[int, ...] | list[int] = (),
        attention_heads: int = 4,
        overlap_types: int = 0,
        pad_token_id: int = 0,
        **kwargs: object,
    ) -> None:
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {kernel_size} is even: a token would not be in the middle")
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.type_vocab_size = type_vocab_size
        self.kernel_size = kernel_size
        self.dilations = list(dilations)
        self.dropout = dropout
        self.question_vector = question_vector
        self.question_attention = list(question_attention)
        self.attention_heads = attention_heads
        self.overlap_types = overlap_types
        super().__init__(pad_token_id=pad_token_id, **kwargs)


class GatedConvBlock(nn.Module):
    """x + values * sigmoid(gates), both from one convolution of the normalised x."""

    def __init__(self, config: GatedConvConfig, dilation: int) -> None:
        super().__init__()
        hidden = config.hidden_size
        padding = dilation * (config.kernel_size - 1) // 2
        self.norm = nn.LayerNorm(hidden)
        self.conv: nn.Module = nn.Conv1d(hidden, 2 * hidden, config.kernel_size, padding=padding, dilation=dilation)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """hidden: (batch, tokens, hidden); mask: (batch, tokens, 1), 0 on padding."""
        # Padding must look to the convolution like the zeros beyond a text's end, or it would change results.
        seen = (self.norm(hidden) * mask).transpose(1, 2)  # (batch, hidden, tokens)
        gated = nn.functional.glu(self.conv(seen), dim=1).transpose(1, 2)  # (batch, tokens, hidden)
        return hidden + torch.as_tensor(self.dropout(gated))


class ConvolutionAsProduct(nn.Module):
    """The same function as a `Conv1d`, by one matrix product: int8 engines multiply matrices but do not convolve."""

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        (self.size,), (self.dilation,) = conv.kernel_size, conv.dilation
        self.weight = nn.Parameter(conv.weight.detach().transpose(1, 2).flatten(1))  # (out, size * in)
        self.bias = conv.bias

    def forward(self, seen: Tensor) -> Tensor:
        """(batch, in_channels, tokens) to (batch, out_channels, tokens)."""
        padding = self.dilation * (self.size - 1) // 2
        padded = nn.functional.pad(seen.transpose(1, 2), (0, 0, padding, padding))  # (batch, tokens + 2 padding, in)
        taps = [padded[:, tap * self.dilation :][:, : seen.shape[2]] for tap in range(self.size)]
        return nn.functional.linear(torch.cat(taps, dim=2), self.weight, self.bias).transpose(1, 2)


class GatedConvEncoder(nn.Module):
    """Token ids to one vector per token."""

    def __init__(self, config: GatedConvConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.types = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(GatedConvBlock(config, dilation) for dilation in config.dilations)
        self.question = QuestionVector(config.hidden_size) if config.question_vector else None
        self.attention = nn.ModuleDict(
            {
                str(number): QuestionAttention(config.hidden_size, config.attention_heads, config.dropout)
                for number in config.question_attention
            }
        )
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(batch, tokens) each to (batch, tokens, hidden); rows of padding hold nothing of use."""
        mask = attention_mask[..., None].to(self.words.weight.dtype)  # (batch, tokens, 1)
        asked = attention_mask.bool() & (token_type_ids == QUESTION_TYPE)
        same = same_tokens(input_ids) if self.attention else None
        hidden = self.dropout(self.words(input_ids) + self.types(token_type_ids))
        for number, block in enumerate(self.blocks):
            if self.question is not None and number == len(self.blocks) // 2:
                hidden = self.question(hidden, asked)
            if str(number) in self.attention:
                hidden = self.attention[str(number)](hidden, asked, same)
            hidden = block(hidden, mask)
        return torch.as_tensor(self.norm(hidden))


class GatedConvModel(PreTrainedModel):  # type: ignore[misc]
    """What both heads share: configuration, initial weights, and defaults for what a caller leaves out."""

    config_class = GatedConvConfig
    base_model_prefix = "encoder"

    def __init__(self, config: GatedConvConfig) -> None:
        super().__init__(config)
        self.encoder = GatedConvEncoder(config)

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of one row per token id, for transformers and `pipelines.checkpoints.trim`."""
        return self.encoder.words

    def multiply(self) -> None:
        """Put matrix products in the place of the convolutions, for export."""
        for block in self.encoder.blocks.children():
            if isinstance(block, GatedConvBlock) and isinstance(block.conv, nn.Conv1d):
                block.conv = ConvolutionAsProduct(block.conv)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv1d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.1)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)

    def encode(self, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None) -> Tensor:
        """(batch, tokens) to (batch, tokens, hidden); without a mask no token is padding, without types all are 0."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        return torch.as_tensor(self.encoder(input_ids, mask, types))


class GatedConvForSequenceClassification(GatedConvModel):
    """Labels a text from the highest and the mean value of each feature over its tokens."""

    def __init__(self, config: GatedConvConfig) -> None:
        super().__init__(config)
        self.dense = nn.Linear(2 * config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def pool(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens, hidden) to (batch, 2 * hidden): maxima, then means, over the tokens that are no padding."""
        mask = attention_mask[..., None].bool()
        highest = hidden.masked_fill(~mask, -torch.inf).amax(dim=1)
        mean = hidden.masked_fill(~mask, 0).sum(dim=1) / mask.sum(dim=1)
        return torch.cat([highest, mean], dim=1)

    def classify(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens, hidden) to logits (batch, labels)."""
        dense = nn.functional.gelu(self.dense(self.dropout(self.pool(hidden, attention_mask))))
        return torch.as_tensor(self.classifier(self.dropout(dense)))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **_: object,
    ) -> SequenceClassifierOutput:
        """Logits (batch, labels), and the mean cross-entropy if `labels` (batch,) are given."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        logits = self.classify(self.encode(input_ids, mask, token_type_ids), mask)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class GatedConvForQuestionAnswering(GatedConvModel):
    """Scores every token as the first and as the last one of the answer; token 0 stands for "no answer here"."""

    def __init__(self, config: GatedConvConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.dropout)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **_: object,
    ) -> QuestionAnsweringModelOutput:
        """Logits (batch, tokens) twice, the type's lowest number on padding; loss if both positions (batch,) are given.

        `end_positions` is the answer's last token, not the one behind it.
        """
        hidden = self.dropout(self.encode(input_ids, attention_mask, token_type_ids))
        logits = self.qa_outputs(hidden)  # (batch, tokens, 2)
        if attention_mask is not None:
            logits = logits.masked_fill(~attention_mask[..., None].bool(), torch.finfo(logits.dtype).min)
        start, end = logits.unbind(dim=2)
        loss = None
        if start_positions is not None and end_positions is not None:
            cross_entropy = nn.functional.cross_entropy
            starting, ending = cross_entropy(start.float(), start_positions), cross_entropy(end.float(), end_positions)
            loss = (starting + ending) / 2
        return QuestionAnsweringModelOutput(loss=loss, start_logits=start, end_logits=end)


AutoConfig.register(GatedConvConfig.model_type, GatedConvConfig)
AutoModelForSequenceClassification.register(GatedConvConfig, GatedConvForSequenceClassification)
AutoModelForQuestionAnswering.register(GatedConvConfig, GatedConvForQuestionAnswering)
