"""Search models, epochs, batch size, learning rate and weight decay for KLUE-STS with Optuna.

Poor trials are stopped early. A search that was interrupted continues when the same command is run again. The best
trial is written as a checkpoint, with a table (trials.md) and a picture (trials.png) of all trials.
"""

import sys

from pipelines import command_line
from pipelines.training import tuning
from pipelines.training.sts.recipe import RECIPE

TUNE = tuning.command_of(RECIPE, __doc__, heads=["classification"])


def main() -> int:
    """Run the command, and return the exit status."""
    return command_line.main("python -m pipelines.sts.tune", {"": command_line.TRAINING["tune"]})


if __name__ == "__main__":
    sys.exit(main())
