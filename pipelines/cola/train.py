"""Compares pretrained models on CoLA, keeps the best after its best epoch, and writes it as a checkpoint.

python -m pipelines.cola.train my-cola --models google-bert/bert-base-uncased ../my-encoder --seeds 0 1 2

What was interrupted goes on from its last whole epoch when the same command is run again.
"""

import sys

from pipelines.training import experiment
from pipelines.training.cola.recipe import RECIPE


def main() -> int:
    """Train, compare, export; 1 where models or data are refused, 130 where the user stopped it."""
    return experiment.main(RECIPE, "pipelines.cola.train", __doc__)


if __name__ == "__main__":
    sys.exit(main())
