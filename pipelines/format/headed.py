"""Load the transformers model with a head that a checkpoint contains."""

from pathlib import Path
from typing import Any

from pipelines.format.kinds import auto_class_of
from pipelines.format.loading import load_transformers
from pipelines.format.manifest import Manifest

NO_TOKEN = -1


def load_headed(folder: Path, manifest: Manifest) -> Any:
    """The model of a checkpoint that is not a bi-encoder. Raises as `load_transformers`.

    A decoder that classifies reads its result at the last token that is not the pad token of its config, and without a
    pad token it refuses batches. Where no item is padded, an id that no token has stands for it: the last token of each
    item is then the last of its text.
    """
    model = load_transformers(auto_class_of(manifest.kind), folder)
    config = model.config.get_text_config()
    if not manifest.padded and getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = NO_TOKEN
    return model


def pad_id_of(model: Any) -> int:
    """The id with which the ids of shorter items are filled up; it is masked."""
    return max(getattr(model.config, "pad_token_id", None) or 0, 0)
