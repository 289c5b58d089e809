"""AdamW for a model: weight decay, learning rates by layer, and the schedule of the learning rate."""

import re
from typing import Any

import torch
from torch import nn

from pipelines.training.settings import TrainingSettings


def optimizer_of(model: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """Make the optimizer: matrices have weight decay, biases and norms have none; `layer_decay` slows lower layers."""
    depths = depths_of(model)
    top = max(depths.values(), default=0)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((depths[name], parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [_group(top - depth, decays, ones, settings) for (depth, decays), ones in groups.items()],
        lr=settings.learning_rate,
        fused=True,  # five times as fast as the unfused one on a CPU
    )


def _group(below_top: int, decays: bool, parameters: list[nn.Parameter], settings: TrainingSettings) -> dict[str, Any]:
    return {
        "params": parameters,
        "lr": settings.learning_rate * settings.layer_decay**below_top,
        "weight_decay": settings.weight_decay if decays else 0.0,
    }


def depths_of(model: nn.Module) -> dict[str, int]:
    """The depth of each parameter, by name: 0 below the layers (embeddings), 1 for the first layer and so on, and one
    more than the last layer for everything above (heads).

    The layers are the longest ModuleList of the model; without a ModuleList, all parameters have depth 0.
    """
    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    if not lists:
        return {name: 0 for name, _ in model.named_parameters()}
    longest = max(lists, key=lambda name: len(lists[name]))
    inside = re.compile(re.escape(longest) + r"\.(\d+)\.")
    depths: dict[str, int] = {}
    depth = 0
    for name, _ in model.named_parameters():  # in the order of creation, from the bottom up
        found = inside.match(name)
        if found:
            depth = int(found[1]) + 1
        depths[name] = depth if found or not depth else len(lists[longest]) + 1
    return depths


def rate_factor(step: int, steps: int, settings: TrainingSettings) -> float:
    """The factor of the learning rate at a step, which counts from 0: it rises to 1 during the warm-up, and then stays
    there or falls to 0, depending on the schedule."""
    warmup = round(settings.warmup_ratio * steps)
    if step < warmup:
        return (step + 1) / warmup
    return 1.0 if settings.schedule == "constant" else max(0.0, (steps - step) / max(1, steps - warmup))
