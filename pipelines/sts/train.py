"""Compares pretrained models with three heads on KLUE-STS, and writes the best as a checkpoint.

python -m pipelines.sts.train my-sts --models klue/roberta-base ../my-encoder --heads layers sentence-transformer

What was interrupted goes on from its last whole epoch when the same command is run again.
"""

import sys

from pipelines.training import experiment
from pipelines.training.sts.recipe import RECIPE


def main() -> int:
    """Train, compare, export; 1 where models or data are refused, 130 where the user stopped it."""
    return experiment.main(RECIPE, "pipelines.sts.train", __doc__)


if __name__ == "__main__":
    sys.exit(main())
