"""Fine-tune pretrained models for question answering, and write the epoch with the lowest loss as a checkpoint.

Without files, KorQuAD's dev file serves for both: 100 articles to train on, 40 to measure on. A data set of the Hub is
named by its id: --train rajpurkar/squad_v2 --dev rajpurkar/squad_v2

A run that was interrupted continues from its last complete epoch when the same command is run again.
"""

import sys

from pipelines import command_line
from pipelines.training import experiment
from pipelines.training.qa.recipe import RECIPE

TRAIN = experiment.command_of(RECIPE, __doc__)


def main() -> int:
    """Run the command, and return the exit status."""
    return command_line.main("python -m pipelines.qa.train", {"": command_line.TRAINING["train qa"]})


if __name__ == "__main__":
    sys.exit(main())
