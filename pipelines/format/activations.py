"""The function that a cross-encoder's score passes through, as sentence-transformers declares it in its files."""

import json
from pathlib import Path
from typing import Any

from pipelines.errors import CheckpointUnsupported
from pipelines.format.loading import refusing_damage
from pipelines.format.manifest import Activation

CONFIG = "config.json"
LIBRARY_CONFIG = "config_sentence_transformers.json"
MODULES = "modules.json"
OLD_KEY = "sbert_ce_default_activation_function"  # in config.json, in sentence-transformers 1 to 3

PATHS: dict[Activation, str] = {
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
    "identity": "torch.nn.modules.linear.Identity",
    "tanh": "torch.nn.modules.activation.Tanh",
}
"""The path that sentence-transformers writes for each function."""
SCALES: dict[Activation, tuple[float, float]] = {"sigmoid": (0.0, 1.0), "identity": (0.0, 5.0), "tanh": (-1.0, 1.0)}
"""The lowest and highest prediction. For identity, an assumption: the scale of KLUE-STS."""


def activation_of(folder: Path) -> Activation:
    """The function that `CrossEncoder.predict` of sentence-transformers applies to the one output of this model.

    The library looks in `config_sentence_transformers.json` (since version 6, beside `modules.json`), then in
    config.json (`sentence_transformers.activation_fn`, version 4 and 5, and OLD_KEY); without any of them it
    applies a sigmoid. An exception is a regression model that only transformers has written: its predictions are its
    outputs, as in the pipeline of transformers. Raises CheckpointUnsupported, with the name of any other function,
    and CheckpointDamaged.
    """
    library, config = _read(folder / LIBRARY_CONFIG), _read(folder / CONFIG)
    if not (folder / MODULES).is_file() or library.get("model_type") != "CrossEncoder":
        library = {}  # the library reads the file only for its own cross-encoders
    newer = config.get("sentence_transformers")
    if library.get("activation_fn") is not None:
        return _named(library["activation_fn"], folder / LIBRARY_CONFIG)
    old = config.get(OLD_KEY)
    declared = newer.get("activation_fn", old) if isinstance(newer, dict) else old
    if declared is not None:
        return _named(declared, folder / CONFIG)
    unknown_to_library = not library and newer is None and OLD_KEY not in config
    return "identity" if unknown_to_library and config.get("problem_type") == "regression" else "sigmoid"


def declare_activation(config: Any, activation: Activation) -> None:
    """Write the function to a transformers config, where all versions since 4 of sentence-transformers find it."""
    before = getattr(config, "sentence_transformers", None)
    config.sentence_transformers = {**(before if isinstance(before, dict) else {}), "activation_fn": PATHS[activation]}


def _named(declared: object, path: Path) -> Activation:
    for activation, full in PATHS.items():
        name = full.rpartition(".")[2]
        if declared in (full, f"torch.nn.{name}", f"torch.nn.modules.{name}"):
            return activation
    why = f"its activation function is {declared}; only Sigmoid, Identity and Tanh of torch.nn are served"
    raise CheckpointUnsupported(str(path), why)


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no file."""
    if not path.is_file():
        return {}
    with refusing_damage(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        return dict(content)
