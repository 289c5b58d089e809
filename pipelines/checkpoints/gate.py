"""The gate of every import: a checkpoint must give what the library of its model gives, alone and in batches.

Inputs of many kinds go through the library one by one, and through the pipeline that will serve the checkpoint: short
and ones, texts of the longest length and one token past it, capitals, emoji. A difference beyond `TOLERANCES` and
`RELATIVE_TOLERANCE` stops the import. Two exceptions are mended: a model whose results depend on padding is served
without padding, and an ONNX graph that differs is left out.
"""

import logging
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.checkpoints import golden
from pipelines.checkpoints.library import Scores, library_scores
from pipelines.cola.pipeline import Acceptability
from pipelines.engines.equal_lengths import EqualLengths
from pipelines.engines.model_stage import Model
from pipelines.errors import CheckpointUnsupported
from pipelines.format.manifest import Kind, Manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Similarity

logger = logging.getLogger(__name__)

TOLERANCES: dict[Kind, float] = {"bi-encoder": 1e-3, "cross-encoder": 5e-3, "classifier": 1e-3, "extractor": 1e-2}
"""The largest allowed difference: of cosines, of scores from 0 to 5, of probabilities, of sums of two logits."""
RELATIVE_TOLERANCE = 1e-4
"""The same as a part of the score, for logits in the hundreds, where float32 itself differs by more."""
LONGEST_TRIED = 1024  # tokens; longer inputs take minutes on a CPU
REPEATED = "도서관은 매일 아침 9시에 문을 연다. The Museum in BUSAN shows old ships, and 1,998 new ones! "
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
    texts = _long_texts(folder, manifest) | {f"a short text, {text!r}": text for text in SHORT}
    match manifest.task:
        case "cola":
            return [Probe(name, text) for name, text in texts.items()]
        case "sts":
            pairs = [Probe(name, (text, SHORT[number % 2])) for number, (name, text) in enumerate(texts.items())]
            return [*pairs, Probe("a short text with a long one", (SHORT[0], next(iter(texts.values()))))]
        case "qa":
            questions = ("도서관은 몇 시에 문을 여나요?", "What does the museum show?")
            return [Probe(name, (questions[number % 2], text)) for number, (name, text) in enumerate(texts.items())]


def _long_texts(folder: Path, manifest: Manifest) -> dict[str, str]:
    """By name, texts of one and a half times the longest length, of one token more than it, and of exactly it."""
    longest = min(manifest.max_tokens or LONGEST_TRIED, LONGEST_TRIED)
    tokenizer = TextTokenizer.load(folder, manifest).tokenizer
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
    changed.engine = EqualLengths(model.engine)
    return changed


def _alone(folder: Path, manifest: Manifest, model: Model, probes: Sequence[Probe]) -> list[Scores]:
    return [_scores(folder, manifest, model, [probe])[0] for probe in probes]


def _scores(folder: Path, manifest: Manifest, model: Model, probes: Sequence[Probe]) -> list[Scores]:
    """The scores of the inputs in one batch, as `library_scores` gives them."""
    scores: list[Scores] = []
    for result in golden.results_of(folder, manifest, model, [probe.item for probe in probes]):
        match result:
            case Similarity(score=score):
                scores.append((score,))
            case Acceptability(probability=probability):
                scores.append((probability,))
            case Answer(score=score, null_score=null_score):
                scores.append((score, null_score))
    return scores


def _worst(kind: Kind, scores: Sequence[Scores], expected: Sequence[Scores]) -> tuple[int, float, float]:
    """Of the input that exceeds what is allowed by most: its index, its difference and the allowed difference.

    A difference of NaN counts as infinite.
    """
    values = np.array(expected)
    differences = np.nan_to_num(np.abs(np.array(scores) - values), nan=np.inf)
    allowed = np.maximum(TOLERANCES[kind], RELATIVE_TOLERANCE * np.abs(np.nan_to_num(values)))
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
