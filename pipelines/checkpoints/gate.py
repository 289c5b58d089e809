"""The gate of every import: a checkpoint must give what the library of its model gives, alone and in batches.

Inputs of many kinds go through the library one by one, and through the pipeline that will serve the checkpoint: short
and long ones, texts of the longest length and one token past it, capitals, emoji. A difference beyond the tolerance of
the kind of model stops the import. Two exceptions are mended: a model whose results depend on padding is served without
padding, and an ONNX graph that differs is left out.
"""

import logging
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from pipelines.checkpoints import golden
from pipelines.checkpoints.library import library_scores
from pipelines.checkpoints.tasks.definition import Scores
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.engines.equal_lengths import EqualLengths
from pipelines.engines.model_stage import Model
from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import KIND_SPECS, Kind, Manifest
from pipelines.format.tokenizer import TextTokenizer

logger = logging.getLogger(__name__)

RELATIVE_TOLERANCE = 1e-4
"""For logits in the hundreds, the allowed difference as a part of the score: float32 itself differs by more there."""
LONGEST_TRIED = 1024  # tokens; longer inputs take minutes on a CPU
REPEATED = "도서관은 매일 아침 9시에 문을 연다. The Museum in BUSAN shows old ships, and 1,998 new ones! "
OTHERS = ("몇 시에 문을 여나요?", "What does the museum show?")
"""The other texts of pairs; as questions, they ask for what `REPEATED` tells, in less than 32 bytes."""
SHORT = (
    "오늘은 비가 많이 옵니다.",
    "The children are playing in the garden.",
    "THE MUSEUM Is In BUSAN!",
    "정말 좋아요 👍🏽 (100%)",
    "a",
)


@dataclass(frozen=True)
class Probe:
    """An input that is tried, and what it is, for messages."""

    name: str
    item: Any


@dataclass(frozen=True)
class Examination:
    """What a checkpoint passed the gate with: its manifest, the inputs, and what the library gives for them."""

    manifest: Manifest
    probes: Sequence[Probe]
    expected: Sequence[Scores]


def examine(source: Path, folder: Path, manifest: Manifest, model: Model) -> Examination:
    """Compare a loaded checkpoint with the library's answers of `source`, and the batch of all inputs with each alone.

    Returns the manifest with `padded` as it must be. Raises CheckpointUnsupported, with the input, the engine and both
    values, if an input gives something else than with the library, or something else the second time, or if a batch
    without padding gives something else than its items alone.
    """
    probes = probes_of(folder, manifest)
    expected = library_scores(source, manifest, [probe.item for probe in probes])
    unpadded = _unpadded(model)
    alone = _alone(folder, manifest, unpadded, probes)
    _refuse_difference(manifest, unpadded, probes, alone, expected, "with the library that it comes from")
    again = _alone(folder, manifest, unpadded, probes)
    _refuse_difference(manifest, unpadded, probes, again, alone, "the first time; it depends on earlier inputs")
    place, difference, allowed = _worst(manifest.kind, _scores(folder, manifest, model, probes), alone)
    if difference <= allowed:
        return Examination(manifest, probes, expected)
    logger.warning(
        "%s: %s changes by %.4f if it is padded to the length of others; only items of equal length will run together",
        *(manifest.name, probes[place].name, difference),
    )
    together = _scores(folder, manifest, unpadded, probes)
    _refuse_difference(manifest, unpadded, probes, together, alone, "alone")
    return Examination(manifest.model_copy(update={"padded": False}), probes, expected)


def check_engine(folder: Path, examined: Examination, model: Model) -> None:
    """Raise CheckpointUnsupported if another engine gives something else than the library, alone or in one batch."""
    manifest, probes = examined.manifest, examined.probes
    for scores in (_alone(folder, manifest, model, probes), _scores(folder, manifest, model, probes)):
        _refuse_difference(manifest, model, probes, scores, examined.expected, "with the library that it comes from")


def check_batches(folder: Path, manifest: Manifest, model: Model) -> None:
    """Raise CheckpointUnsupported if a batch gives something else than its items alone."""
    probes = probes_of(folder, manifest)
    alone, together = _alone(folder, manifest, _unpadded(model), probes), _scores(folder, manifest, model, probes)
    _refuse_difference(manifest, model, probes, together, alone, "alone")


def probes_of(folder: Path, manifest: Manifest) -> list[Probe]:
    """The inputs that are tried for a task. Long ones come first: a model may behave otherwise after a short one."""
    tokenizer = TextTokenizer.load(folder, manifest).tokenizer
    short = [*SHORT, *_text_with_special_token(tokenizer)]
    texts = _long_texts(tokenizer, manifest) | {f"a short text, {text!r}": text for text in short}
    items = TASKS[manifest.task].probes(list(texts.values()), OTHERS)
    return [Probe(name, item) for name, item in zip_longest(texts, items, fillvalue="a short text with a long one")]


def _text_with_special_token(tokenizer: Tokenizer) -> list[str]:
    """A text with the name of a special token, such as [MASK], if there is one that does not frame every text.

    A second end of a text makes some models fail, also with their library.
    """
    framing = tokenizer.encode("").ids
    added = tokenizer.get_added_tokens_decoder()
    names = [token.content for number, token in sorted(added.items()) if token.special and number not in framing]
    return [f"The museum {name} is open." for name in names[-1:]]


def _long_texts(tokenizer: Tokenizer, manifest: Manifest) -> dict[str, str]:
    """By name, texts of one and a half times the longest length, of one token more than it, and of exactly it."""
    longest = min(manifest.max_tokens or LONGEST_TRIED, LONGEST_TRIED)
    special = len(tokenizer.encode("", add_special_tokens=manifest.special_tokens))
    text = REPEATED * longest  # more than enough: it has more than two tokens
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    lengths = {"1.5 times": longest * 3 // 2, "1 token more than": longest + 1, "exactly": longest}
    return {
        f"a text of {name} the longest input ({longest} tokens)": text[: offsets[max(count - special, 1) - 1][1]]
        for name, count in lengths.items()
    }


def _unpadded(model: Model) -> Model:
    """The same model, which runs only items of equal length together; the two sentences of a pair may differ."""
    changed = copy(model)
    if not isinstance(model.engine, EqualLengths):
        changed.engine = EqualLengths(model.engine)
    return changed


def _alone(folder: Path, manifest: Manifest, model: Model, probes: Sequence[Probe]) -> list[Scores]:
    return [_scores(folder, manifest, model, [probe])[0] for probe in probes]


def _scores(folder: Path, manifest: Manifest, model: Model, probes: Sequence[Probe]) -> list[Scores]:
    """The scores of the inputs in one batch, as `library_scores` gives them."""
    results = golden.results_of(folder, manifest, model, [probe.item for probe in probes])
    return [TASKS[manifest.task].scores(result) for result in results]


def _worst(kind: Kind, scores: Sequence[Scores], expected: Sequence[Scores]) -> tuple[int, float, float]:
    """Of the input that exceeds what is allowed by most: its index, its difference and the allowed difference.

    A difference of NaN counts as infinite.
    """
    values = np.array(expected)
    differences = np.nan_to_num(np.abs(np.array(scores) - values), nan=np.inf)
    allowed = np.maximum(KIND_SPECS[kind].library_tolerance, RELATIVE_TOLERANCE * np.abs(np.nan_to_num(values)))
    place, column = np.unravel_index(int((differences / allowed).argmax()), values.shape)
    return int(place), float(differences[place, column]), float(allowed[place, column])


def _refuse_difference(
    manifest: Manifest,
    model: Model,
    probes: Sequence[Probe],
    scores: Sequence[Scores],
    expected: Sequence[Scores],
    other: str,
) -> None:
    place, difference, allowed = _worst(manifest.kind, scores, expected)
    if difference > allowed:
        ours, theirs = (", ".join(f"{score:.4f}" for score in some[place]) for some in (scores, expected))
        why = f"{probes[place].name} gives {ours} on {model.engine.name}, and {theirs} {other}"
        raise CheckpointUnsupported(manifest.name, why)
