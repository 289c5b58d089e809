"""Measure a training step of one base model: seconds of the forward pass, the backward pass and the optimizer.

    python -m benchmarks.training_step BASE --rows 8 --tokens 300 --attention-dropout 0 0.1

Prints one JSON line per attention dropout: the least seconds of each part after two warm-up steps, and tokens/s.
"""

import argparse
import json
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel

from pipelines.training.base import Base
from pipelines.training.optimization import optimizer_of
from pipelines.training.settings import TrainingSettings

WARM_UP = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="Hub id or folder of an encoder")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=300, help="tokens of each row")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--attention-dropout", type=float, nargs="+", default=[0.0, 0.1])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for dropout in arguments.attention_dropout:
        print(json.dumps({"attention_dropout": dropout, **measure(arguments, dropout)}), flush=True)


def measure(arguments: argparse.Namespace, dropout: float) -> dict[str, float]:
    """The least seconds of each part of a step, and tokens/s."""
    torch.manual_seed(0)
    model, _ = replace(Base.find(arguments.base), attention_dropout=dropout).load(AutoModel)
    ids = torch.randint(10, model.config.vocab_size, (arguments.rows, arguments.tokens))
    optimizer = optimizer_of(model.train(), TrainingSettings())
    steps = [step(model, optimizer, ids, arguments.precision) for _ in range(WARM_UP + arguments.steps)]
    least = [min(parts) for parts in zip(*steps[WARM_UP:], strict=True)]
    names = ("forward_s", "backward_s", "optimizer_s")
    rounded = {name: round(seconds, 2) for name, seconds in zip(names, least, strict=True)}
    return {**rounded, "tokens_per_s": round(ids.numel() / sum(least))}


def step(model: Any, optimizer: torch.optim.Optimizer, ids: Tensor, precision: str) -> tuple[float, float, float]:
    """(forward, backward, optimizer) seconds of one step on ids (rows, tokens); row 0 ends with a padding token."""
    mask = torch.ones_like(ids)
    mask[0, -1] = 0
    halved = torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()
    begin = time.perf_counter()
    with halved:
        loss = model(input_ids=ids, attention_mask=mask).last_hidden_state.float().square().mean()
    forward = time.perf_counter()
    optimizer.zero_grad()
    loss.backward()
    backward = time.perf_counter()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return forward - begin, backward - forward, time.perf_counter() - backward


if __name__ == "__main__":
    main()
