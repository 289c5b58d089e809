"""Names of runs: the same for the same run, so that what was interrupted is found again."""

import hashlib
from collections.abc import Sequence

from pipelines.checkpoints.resolve import identity
from pipelines.training.base import Base
from pipelines.training.settings import TrainingSettings


def run_name(
    label: str, base: Base, settings: TrainingSettings, options: object, train: Sequence[object], dev: Sequence[object]
) -> str:
    """The label, fit to name a folder, and a digest of all that decides what the run computes.

    That is the base's files or commit, settings, the task's own options, and rows, by their `repr`; not where it runs.
    """
    plain = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in label)
    decides = repr((identity(base.source), base.revision, settings, options, train, dev))
    return f"{plain}-{hashlib.sha256(decides.encode()).hexdigest()[:12]}"
