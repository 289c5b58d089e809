"""Train a `NumbersLearner` on Ray in a separate process, and print the result as JSON.

python -m tests.pipelines.training.fit_numbers STORAGE WORKERS (die | interrupt | nothing)
"""

import json
import os
import sys
from functools import partial
from pathlib import Path

from pipelines.training.on_ray import cluster, fit
from pipelines.training.settings import RaySettings
from pipelines.training.stage import Stage
from tests.pipelines.training.numbers import DEV, SETTINGS, TRAIN, Disturbed, NumbersLearner, die, interrupt

SECOND_EPOCH = 10  # number of a step in the second epoch; each epoch has seven steps


def main() -> int:
    storage, workers, event = sys.argv[1:]
    happens = {"die": die, "interrupt": partial(interrupt, os.getpid())}.get(event)
    load = partial(Disturbed, SECOND_EPOCH, Path(storage) / event, happens) if happens else NumbersLearner
    with cluster():
        try:
            trained = fit(
                "numbers",
                load,
                [Stage.of(TRAIN)],
                DEV,
                SETTINGS,
                RaySettings(num_workers=int(workers), storage=storage),
            )
        except KeyboardInterrupt:
            return 130
    weights = {name: value.tolist() for name, value in trained.weights.items()}
    sys.stdout.write(json.dumps({"history": trained.history.as_dict(), "weights": weights}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
