"""How the positions of a text learn what its question is about; the question stands in the same row of tokens."""

import torch
from torch import Tensor, nn

SURE_OF_THE_SAME = 4.0


class QuestionVector(nn.Module):
    """Pools the question into one vector, which shifts and gates every position."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(hidden_size, 1)
        self.shift = nn.Linear(hidden_size, hidden_size)
        self.gate = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor, question: Tensor) -> Tensor:
        """hidden: (batch, tokens, hidden); question: (batch, tokens) bool, true on at least one token a row."""
        weights = self.weigh(hidden).masked_fill(~question[..., None], -torch.inf).softmax(dim=1)
        vector = (weights * hidden).sum(dim=1, keepdim=True)  # (batch, 1, hidden)
        return torch.as_tensor((hidden + self.shift(vector)) * 2 * torch.sigmoid(self.gate(vector)))


class QuestionAttention(nn.Module):
    """Each position takes in the tokens of the question that matter to it, above all those equal to its own.

    The aligned question embedding of Chen et al. 2017 (https://arxiv.org/abs/1704.00051) as multi-head attention. Of
    the heads some begin by looking for the same token, the first ones only by what the vectors say.
    """

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        if hidden_size % heads:
            raise ValueError(f"{heads} heads don't share hidden_size {hidden_size} evenly")
        self.heads = heads
        self.norm = nn.LayerNorm(hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.same = nn.Parameter(torch.linspace(0, SURE_OF_THE_SAME, heads))
        self.output = nn.Linear(2 * hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, question: Tensor, same: Tensor) -> Tensor:
        """hidden: (batch, tokens, hidden); question: as `QuestionVector`'s; same: (batch, tokens, tokens)."""
        normed = self.norm(hidden)
        asked = normed if torch.compiler.is_exporting() else normed[:, : _reach(question)]
        keys = asked.shape[1]
        query, key, value = (
            self._split(self.query(normed)),
            self._split(self.key(asked)),
            self._split(self.value(asked)),
        )
        scores = query @ key.transpose(2, 3) * query.shape[3] ** -0.5  # (batch, heads, tokens, keys)
        scores = scores + self.same[:, None, None] * same[:, None, :, :keys].to(scores.dtype)
        weights = scores.masked_fill(~question[:, None, None, :keys], -torch.inf).softmax(dim=3)
        taken = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)  # (batch, tokens, hidden)
        compared = torch.cat([taken, taken * normed], dim=2)
        return hidden + torch.as_tensor(self.dropout(self.output(compared)))

    def _split(self, hidden: Tensor) -> Tensor:
        """(batch, tokens, hidden) to (batch, heads, tokens, hidden / heads)."""
        return hidden.reshape(*hidden.shape[:2], self.heads, -1).transpose(1, 2)


def _reach(question: Tensor) -> int:
    """How many tokens from the left hold all questions of the batch: keys beyond weigh nothing but take time."""
    places = torch.arange(1, question.shape[1] + 1, device=question.device)
    return max(int((places * question).max()), 1)


def same_tokens(input_ids: Tensor) -> Tensor:
    """(batch, tokens) to (batch, tokens, tokens): which positions hold the same token."""
    return input_ids[:, :, None] == input_ids[:, None, :]
