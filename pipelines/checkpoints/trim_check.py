"""The check that a trimmed checkpoint answers as the whole one does."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer

from pipelines.checkpoints import in_process
from pipelines.checkpoints.finish import REFERENCE
from pipelines.checkpoints.importing import longest_input
from pipelines.checkpoints.trim_pieces import encode
from pipelines.checkpoints.trim_texts import Text
from pipelines.checkpoints.trim_weights import TOKENIZER_CONFIG
from pipelines.engines.engine import OUTPUTS
from pipelines.errors import CheckpointUnsupported
from pipelines.format.loading import load_transformers, refusing_damage
from pipelines.format.manifest import Manifest, Task

SAME = 1e-5  # of logits and of an embedding's numbers: the same float32 arithmetic on the same rows
SAMPLE = 8  # texts that the model is asked
LONGEST = 1000  # characters of those, where there are shorter ones


def check_tokens(before: Tokenizer, after: Tokenizer, texts: Sequence[Text], where: str) -> None:
    """Raises CheckpointUnsupported, naming the line, where a text gives other tokens, or the same at other offsets."""
    strings = [text.text for text in texts]
    both = zip(encode(before, strings), encode(after, strings), strict=True)
    for text, ((_, old), (_, new)) in zip(texts, both, strict=True):
        if old.tokens != new.tokens or old.offsets != new.offsets or old.type_ids != new.type_ids:
            raise CheckpointUnsupported(where, f"{text.where}: other tokens than before")


def check_saved(before: Path, after: Path, texts: Sequence[Text]) -> None:
    """`check_tokens` on the two folders' tokenizers as transformers reads them, where it can: it takes the vocabulary
    from the file and builds some of the other steps itself."""
    if not all((folder / TOKENIZER_CONFIG).is_file() for folder in (before, after)):
        return
    with refusing_damage(after):
        whole, trimmed = (_backend(folder) for folder in (before, after))
    check_tokens(whole, trimmed, texts, str(after))


def _backend(folder: Path) -> Tokenizer:
    tokenizer: Tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def check_outputs(before: Path, after: Path, manifest: Manifest | None, texts: Sequence[Text]) -> None:
    """Raises CheckpointUnsupported, naming the line, where a model's numbers differ by more than `SAME` on a few texts.

    Without a manifest, folders hold encoders, and what is compared is the state of each token.
    """
    sample = _sample(texts)
    strings = [text.text for text in sample]
    if manifest is None:
        whole, trimmed = (_states(folder, strings) for folder in (before, after))
    else:
        whole, trimmed = (_outputs(folder, manifest, _inputs(manifest.task, strings)) for folder in (before, after))
    for text, old, new in zip(sample, whole, trimmed, strict=True):
        if old.shape != new.shape or not np.abs(old - new).max(initial=0) <= SAME:  # nor where one is no number
            raise CheckpointUnsupported(str(after), f"{text.where}: other outputs than before")


def _sample(texts: Sequence[Text]) -> list[Text]:
    short = [text for text in texts if len(text.text) <= LONGEST] or [min(texts, key=lambda text: len(text.text))]
    return short[:: -(-len(short) // SAMPLE)]


def _inputs(task: Task, texts: Sequence[str]) -> list[Any]:
    """Each text, where the task wants two with the one behind it, and the last with the first."""
    return list(texts) if task == "cola" else list(pairwise([*texts, texts[0]]))


def _outputs(folder: Path, manifest: Manifest, inputs: Sequence[Any]) -> Iterator[NDArray[np.float32]]:
    """All numbers that the model gives for each input, in one row."""
    engine = in_process.load_model(folder, manifest, REFERENCE).engine
    for asked in inputs:
        batches = in_process.token_batches(folder, manifest, [asked])
        yield np.concatenate([out.ravel() for one in batches for out in engine.outputs(one, *OUTPUTS[manifest.kind])])


def _states(folder: Path, texts: Sequence[str]) -> Iterator[NDArray[np.float32]]:
    """(tokens, hidden) of each text."""
    with refusing_damage(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = load_transformers(AutoModel, folder, may_lack="pooler.").float().eval()
    longest = longest_input(model.config, tokenizer.model_max_length)
    for text in texts:
        inputs = tokenizer(text, truncation=longest is not None, max_length=longest, return_tensors="pt")
        with torch.no_grad():
            states: NDArray[np.float32] = model(**inputs).last_hidden_state[0].numpy()
        yield states
