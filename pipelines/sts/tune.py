"""Searches the original's space for KLUE-STS with Optuna: model, epochs, batch size, learning rate and weight decay.

python -m pipelines.sts.tune my-sts --trials 30 --lowest-rate 2e-5 --highest-rate 1e-4 --concurrent 2

Poor trials are stopped early. What was interrupted goes on when the same command is run again. The best trial is
written as a checkpoint, with a table (trials.md) and a picture (trials.png) of them all.
"""

import sys

from pipelines.training import tuning
from pipelines.training.sts.recipe import RECIPE


def main() -> int:
    """Search, export; 1 where models or data are refused, 130 where the user stopped it."""
    return tuning.main(RECIPE, "pipelines.sts.tune", __doc__, heads=["classification"])


if __name__ == "__main__":
    sys.exit(main())
