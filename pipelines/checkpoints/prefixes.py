"""Strip what wrappers put before and into the names of weights, so that these fit the base model's architecture.

Lightning modules, DistributedDataParallel, FSDP, torch.compile and others hold a model as an attribute, whose name then
begins the name of each weight: `model.`, `module.`, `_orig_mod.`, in any order and nesting. No list of such names is
needed: the right prefix is the one under which the file has all weights of the architecture.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import CheckpointUnsupported
from pipelines.format.kinds import Head

logger = logging.getLogger(__name__)

NO_HEAD = "its weights have no head that this project serves"

INSIDE = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module", "_fpw_module"}
"""Names that only wrappers use; these may also stand inside of a key, where a part of the model was wrapped."""

USUAL = {"model", "module", "net", "network"}
"""Names of the model itself. A copy of it under another name (`ema_model.`, `teacher.`) is used only if it is alone."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model with a head: its class's name, the names of all its weights, and of those with a row for each output."""

    head: Head
    name: str
    keys: frozenset[str]
    outputs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Fit:
    """An architecture, and the file's name of each weight by the name without wrappers; it may lack some weights."""

    architecture: Architecture
    keys: Mapping[str, str]


def fit(checkpoint: Path, keys: Collection[str], architectures: Sequence[Architecture]) -> Fit:
    """The architecture that the keys of a file fit, and the keys under the prefix that is right for it.

    The prefix is logged. If no prefix fits but one has most weights of an architecture, that is returned, and a caller
    finds what is missing. Raises CheckpointUnsupported if the keys fit nothing or if several prefixes fit.
    """
    for removed in (INSIDE, INSIDE | {"module"}):
        plain = _without(checkpoint, keys, removed)
        found = {
            (architecture, prefix): count / len(architecture.keys)
            for architecture in architectures
            for prefix, count in _prefixes(plain, architecture.keys).items()
        }
        complete = [key for key, share in found.items() if share == 1]
        if complete:
            break
    best = _choose(checkpoint, complete) if complete else max(found, key=lambda key: found[key], default=None)
    if best is None or found[best] < _MOST:
        raise CheckpointUnsupported(str(checkpoint), _misfit(keys, architectures))
    architecture, prefix = best
    fitting = {name.removeprefix(prefix): key for name, key in plain.items() if name.startswith(prefix)}
    _log(checkpoint, fitting)
    return Fit(architecture, fitting)


_MOST = 0.5


def _without(checkpoint: Path, keys: Iterable[str], removed: Collection[str]) -> dict[str, str]:
    """The keys by their names without the parts `removed`. Raises CheckpointUnsupported if two get the same name."""
    plain: dict[str, str] = {}
    for key in keys:
        name = ".".join(part for part in key.split(".") if part not in removed)
        if name in plain:
            why = f"{plain[name]} and {key} are the same weight without their wrappers' names; delete one of them"
            raise CheckpointUnsupported(str(checkpoint), why)
        plain[name] = key
    return plain


def _prefixes(names: Iterable[str], expected: Collection[str]) -> Counter[str]:
    """For each prefix, how many of the names are this prefix and an expected name."""
    found: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in expected:
                found[".".join([*parts[:start], ""])] += 1
    return found


def _choose(checkpoint: Path, complete: Sequence[tuple[Architecture, str]]) -> tuple[Architecture, str]:
    """The only prefix that fits, or the only usual one of several. The first architecture wins if two fit."""
    prefixes = list(dict.fromkeys(prefix for _, prefix in complete))
    usual = [prefix for prefix in prefixes if USUAL.issuperset(prefix.split(".")[:-1])]
    candidates = usual or prefixes
    if len(candidates) > 1:
        named = ", ".join(repr(prefix) for prefix in sorted(candidates))
        why = f"holds several models, under the prefixes {named}; save the one that is to be served alone"
        raise CheckpointUnsupported(str(checkpoint), why)
    return next(pair for pair in complete if pair[1] == candidates[0])


def _misfit(keys: Collection[str], architectures: Sequence[Architecture]) -> str:
    common = _common_prefix(keys)
    prefix = f"their longest common prefix is {common!r}" if common else "they have no common prefix"
    names = " or ".join(architecture.name for architecture in architectures)
    example = min((key for architecture in architectures for key in architecture.keys), default="none")
    first = ", ".join(list(keys)[:3])
    heads = tuple(sorted(key for architecture in architectures for key in architecture.outputs))
    if heads and not any(key.endswith(heads) for key in keys):
        return f"{NO_HEAD}: no key ends with {' or '.join(heads)}; {prefix}, and the first keys are {first}"
    return f"its keys do not fit {names}, which has keys such as {example}: {prefix}, and the first are {first}"


def _common_prefix(keys: Iterable[str]) -> str:
    """The longest prefix, ending with a dot, with which all keys begin."""
    parts: list[str] = []
    for column in zip(*(key.split(".")[:-1] for key in keys), strict=False):
        if len(set(column)) > 1:
            break
        parts.append(f"{column[0]}.")
    return "".join(parts)


def _log(checkpoint: Path, fitting: Mapping[str, str]) -> None:
    """Log the prefixes that were stripped, and wrappers' names inside of keys."""
    prefixes = sorted({key.removesuffix(name) for name, key in fitting.items() if key.endswith(name)} - {""})
    inside = {part for name, key in fitting.items() if not key.endswith(name) for part in key.split(".")}
    stripped = [repr(prefix) for prefix in prefixes]
    stripped += [f"{part!r} inside of keys" for part in sorted(inside & (INSIDE | {"module"}))]
    if stripped:
        logger.info("%s: stripped %s from the names of %d weights", checkpoint, " and ".join(stripped), len(fitting))
