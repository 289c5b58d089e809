"""The command line of the three trainings that made the shipped checkpoints."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from pipelines.checkpoints.manifest import Manifest, Task, Training
from pipelines.data_files import data_folder

Export = Callable[[Path, Training], Manifest]
"""Writes a trained model, and how it was trained, to a folder."""


def main(task: Task, about: str | None, trained_on: Sequence[str], train: Callable[[Path, int], Export]) -> None:
    """Train on one thread with the data and seed that the command line names, export, and print the manifest."""
    arguments = _parser(task, about).parse_args()
    torch.set_num_threads(1)
    began_s = time.monotonic()
    export = train(arguments.data, arguments.seed)
    training = Training(
        data=list(trained_on),
        seed=arguments.seed,
        command=f"python -m pipelines.{task}.from_scratch --seed {arguments.seed}",
        minutes=round((time.monotonic() - began_s) / 60, 1),
    )
    manifest = export(arguments.output, training)
    sys.stdout.write(manifest.model_dump_json(indent=2, exclude={"files", "golden"}) + "\n")


def _parser(task: Task, about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m pipelines.{task}.from_scratch",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=data_folder(), help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("checkpoints") / task, help="folder of the checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    return parser
