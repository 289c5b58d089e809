"""Names of runs: the same for the same run, so that what was interrupted is found again."""

import hashlib
from collections.abc import Sequence

from pipelines.checkpoints.resolve import identity
from pipelines.training.base import Base
from pipelines.training.settings import TrainingSettings


def run_name(
    label: str, base: Base, settings: TrainingSettings, options: object, stages: Sequence[object], dev: Sequence[object]
) -> str:
    """The label, fit to name a folder, and a digest of all that decides what the run computes.

    That is the base's files or commit, settings, the task's own options, and rows, by their `repr`; not where it runs.
    """
    return _name(label, (_of(base), settings, options, stages, dev))


def search_name(
    label: str,
    bases: Sequence[Base],
    settings: TrainingSettings,
    options: object,
    stages: Sequence[object],
    dev: Sequence[object],
) -> str:
    """As `run_name`, for a search among several bases; `options` hold the space, too."""
    return _name(label, ([_of(base) for base in bases], settings, options, stages, dev))


def _of(base: Base) -> tuple[str, str | None]:
    return identity(base.source), base.revision


def _name(label: str, decides: tuple[object, ...]) -> str:
    plain = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in label)
    return f"{plain}-{hashlib.sha256(repr(decides).encode()).hexdigest()[:12]}"
