"""Trains pretrained models to answer questions, keeps the epoch with the lowest loss, and writes it as a checkpoint.

python -m pipelines.qa.train my-qa --train KorQuAD_v1.0_train.json --dev KorQuAD_v1.0_dev.json
python -m pipelines.qa.train my-qa --models owner/name --train rajpurkar/squad_v2 --dev rajpurkar/squad_v2

Without files, KorQuAD's dev file is both: 100 articles to train on, 40 to measure on.
What was interrupted goes on from its last whole epoch when the same command is run again.
"""

import sys

from pipelines.training import experiment
from pipelines.training.qa.recipe import RECIPE


def main() -> int:
    """Train, compare, export; 1 where models or data are refused, 130 where the user stopped it."""
    return experiment.main(RECIPE, "pipelines.qa.train", __doc__)


if __name__ == "__main__":
    sys.exit(main())
