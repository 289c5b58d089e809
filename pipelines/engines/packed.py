"""Run encoders on packed batches: the tokens of all items in one row, without padding.

Only the stack of layers, which does nearly all of the work, runs packed. Embeddings, poolers and heads still see padded
batches, so that the architecture handles positions, token types and pooling as usual; two index copies convert between
the two forms. An architecture must use transformers' attention interface
(https://huggingface.co/docs/transformers/en/attention_interface) and a stack that passes keyword arguments to the
attention. `Stack.try_packing` finds that out with a trial run.

On CUDA, attention is `torch.nn.attention.varlen`: FlashAttention over sequences of any length (Dao et al. 2022,
https://arxiv.org/abs/2205.14135), in float16 or bfloat16. On the CPU it is attention over the whole row with a mask.
This gives the same results but is slower than padding; it serves tests and trial runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, PreTrainedModel

from pipelines.text.token_batch import CheckpointRef, TokenBatch

PACKED = "munjang_packed"
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""By dtype, the largest |packed - padded| / |padded| (norms of all hidden states) that counts as rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """The mapping between a padded batch and the packed row of its tokens.

    places   (tokens,) int64: index of each token in the flattened (items, longest)
    bounds   (items + 1,) int32: item i is `bounds[i]:bounds[i + 1]` of the row
    longest  number of tokens of the longest item; kept on the host, so that no kernel launch waits for the device
    """

    places: Tensor
    bounds: Tensor
    longest: int

    @classmethod
    def of(cls, batch: TokenBatch, to_device: Callable[[NDArray[Any]], Tensor]) -> "Packing":
        """The packing of a batch, computed on the host."""
        places, bounds = np.flatnonzero(batch.mask), batch.starts.astype(np.int32)
        return cls(to_device(places), to_device(bounds), int(batch.lengths.max()))


class PackedLayers(nn.Module):
    """A stack of layers that, given a packing, runs without padding; its inputs and outputs are padded."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, hidden_states: Tensor, *args: Any, packing: Packing | None = None, **kwargs: Any) -> Any:
        """The stack's output for hidden_states (items, longest, hidden); `last_hidden_state` is zero on padding."""
        if packing is None:
            return self.layers(hidden_states, *args, **kwargs)
        row = hidden_states.flatten(0, 1).index_select(0, packing.places)[None]  # (1, tokens, hidden)
        output = self.layers(row, *args, **kwargs, cu_seq_lens_q=packing.bounds, max_length_q=packing.longest)
        states = output.last_hidden_state[0]  # (tokens, hidden); in ALBERT the width differs from the input's
        padded = states.new_zeros(hidden_states.shape[:2].numel(), states.shape[1])
        output.last_hidden_state = padded.index_copy_(0, packing.places, states).view(*hidden_states.shape[:2], -1)
        return output


def packed_attention(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    scaling: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attention within each item of a packed row, with the signature of transformers' attention functions.

    query, key and value are (1, heads, tokens, head); returns (1, tokens, heads, head) and no attention weights.
    """
    if query.is_cpu:
        item = torch.bucketize(torch.arange(query.shape[2]), cu_seq_lens_q, right=True)  # (tokens,)
        same = item[:, None] == item  # (tokens, tokens)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=same, scale=scaling)
        return attended.transpose(1, 2), None
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (tokens, heads, head)
    bounds, longest = cu_seq_lens_q, max_length_q
    return torch.as_tensor(varlen_attn(query, key, value, bounds, bounds, longest, longest, scale=scaling))[None], None


# No mask function is registered under this name, so that transformers builds no mask: that would cost more than the
# attention.
AttentionInterface.register(PACKED, packed_attention)


class Forward(Protocol):
    """Runs the model on a batch, with its layers packed or padded."""

    def __call__(self, batch: TokenBatch, *, packed: bool) -> object:
        """The return value is not used."""


class Stack:
    """The stack of layers of a transformers model; it can be packed and compiled in place."""

    def __init__(self, model: PreTrainedModel, name: str) -> None:
        self._model = model
        self._attention: str = model.config._attn_implementation
        self._name = name
        self._layers: nn.Module = getattr(model, name)
        self._probe = _probe(model.config.vocab_size)

    @classmethod
    def of(cls, model: nn.Module) -> "Stack | None":
        """The part of the base model that holds the list of layers; None if the attention can't be replaced."""
        # The base model's config may differ from the model's.
        base = model.base_model if isinstance(model, PreTrainedModel) else None
        if not isinstance(base, PreTrainedModel) or not base._supports_attention_backend:
            return None
        for name, part in base.named_children():
            if any(isinstance(child, nn.ModuleList) for child in part.children()):
                return cls(base, name)
        return None

    def try_packing(self, forward: Forward) -> bool:
        """Pack the layers, unless the packed model fails or gives other results than the padded one."""
        self._unpack()
        padded = self._states(forward, packed=False)
        self._pack()
        try:
            packed = self._states(forward, packed=True)
        except Exception:  # unknown arguments, or a GPU without the kernel; the type of the error varies
            packed = torch.full_like(padded, torch.nan)
        error, size = (packed - padded).norm(dtype=torch.float32), padded.norm(dtype=torch.float32)
        agree = bool(error < TOLERANCE[padded.dtype] * size)
        if not agree:
            self._unpack()
        return agree

    def compile(self, forward: Forward, *, packed: bool) -> bool:
        """Compile the layers once for batches of all sizes. Always returns True."""
        self._layers.compile(dynamic=True)
        forward(self._probe, packed=packed)
        return True

    def _pack(self) -> None:
        setattr(self._model, self._name, PackedLayers(self._layers))
        self._model.set_attn_implementation(PACKED)

    def _unpack(self) -> None:
        setattr(self._model, self._name, self._layers)
        self._model.set_attn_implementation(self._attention)

    def _states(self, forward: Forward, *, packed: bool) -> Tensor:
        """The output of the layers on the probe, (tokens, hidden)."""
        seen: list[Any] = []
        layers: nn.Module = getattr(self._model, self._name)
        with layers.register_forward_hook(lambda _, __, output: seen.append(output)):
            forward(self._probe, packed=packed)
        return torch.as_tensor(seen[0].last_hidden_state[torch.from_numpy(self._probe.mask)])


def _probe(vocab_size: int) -> TokenBatch:
    """A batch of two short items of different lengths."""
    lengths = np.array([7, 4], dtype=np.int32)
    tokens = int(lengths.sum())
    return TokenBatch(
        checkpoint=CheckpointRef("", "", None),
        ids=(np.arange(tokens, dtype=np.int32) * 31 + 5) % vocab_size,
        types=np.zeros(tokens, dtype=np.uint8),
        lengths=lengths,
        truncated=np.zeros(len(lengths), dtype=np.bool_),
    )
