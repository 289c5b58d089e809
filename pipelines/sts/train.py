"""Compare pretrained models with three heads on KLUE-STS, and write the best as a checkpoint.

A run that was interrupted continues from its last complete epoch when the same command is run again.
"""

import sys

from pipelines import command_line
from pipelines.training import experiment
from pipelines.training.sts.recipe import RECIPE

TRAIN = experiment.command_of(RECIPE, __doc__)


def main() -> int:
    """Run the command, and return the exit status."""
    return command_line.main("python -m pipelines.sts.train", {"": command_line.TRAINING["train sts"]})


if __name__ == "__main__":
    sys.exit(main())
