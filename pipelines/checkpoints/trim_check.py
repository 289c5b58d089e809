"""Check that a trimmed checkpoint gives the same tokens and outputs as the complete one."""

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
from pipelines.checkpoints.limits import longest_input
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.checkpoints.trim_pieces import encode
from pipelines.checkpoints.trim_texts import Text
from pipelines.checkpoints.trim_weights import TOKENIZER_CONFIG
from pipelines.engines.choice import REFERENCE
from pipelines.errors import CheckpointUnsupported
from pipelines.format.loading import load_transformers, refusing_damage
from pipelines.format.manifest import KIND_SPECS, Manifest, Task

OUTPUT_TOLERANCE = 1e-5  # largest difference of logits and of embedding values, both computed in float32
SAMPLE = 8  # number of texts that the models run on
LONGEST = 1000  # longest of these texts in characters, unless all texts are longer


def check_tokens(before: Tokenizer, after: Tokenizer, texts: Sequence[Text], where: str) -> None:
    """Raise CheckpointUnsupported, naming the line, if a text gives other tokens, offsets or types."""
    strings = [text.text for text in texts]
    both = zip(encode(before, strings), encode(after, strings), strict=True)
    for text, ((_, old), (_, new)) in zip(texts, both, strict=True):
        if old.tokens != new.tokens or old.offsets != new.offsets or old.type_ids != new.type_ids:
            raise CheckpointUnsupported(where, f"{text.where}: other tokens than before")


def check_transformers_tokens(before: Path, after: Path, texts: Sequence[Text]) -> None:
    """Call `check_tokens` on the tokenizers that transformers loads from the two folders, if it can.

    They may differ from the files: transformers reads the vocabulary and builds some of the other steps itself.
    """
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
    """Raise CheckpointUnsupported, naming the line, if outputs differ by more than `OUTPUT_TOLERANCE` on some texts.

    Without a manifest the folders hold encoders, and the states of the tokens are compared.
    """
    sample = _sample(texts)
    strings = [text.text for text in sample]
    if manifest is None:
        whole, trimmed = (_states(folder, strings) for folder in (before, after))
    else:
        whole, trimmed = (_outputs(folder, manifest, _items(manifest.task, strings)) for folder in (before, after))
    for text, old, new in zip(sample, whole, trimmed, strict=True):
        if old.shape != new.shape or not np.abs(old - new).max(initial=0) <= OUTPUT_TOLERANCE:  # true for NaN
            raise CheckpointUnsupported(str(after), f"{text.where}: other outputs than before")


def _sample(texts: Sequence[Text]) -> list[Text]:
    short = [text for text in texts if len(text.text) <= LONGEST] or [min(texts, key=lambda text: len(text.text))]
    return short[:: -(-len(short) // SAMPLE)]


def _items(task: Task, texts: Sequence[str]) -> list[Any]:
    """The texts as items of a task; for a task with pairs, each text with the next, and the last with the first."""
    return [TASKS[task].item(text, other) for text, other in pairwise([*texts, texts[0]])]


def _outputs(folder: Path, manifest: Manifest, inputs: Sequence[Any]) -> Iterator[NDArray[np.float32]]:
    """All output values of the model for each input, flattened."""
    engine = in_process.load_model(folder, manifest, REFERENCE).engine
    for asked in inputs:
        batches = in_process.token_batches(folder, manifest, [asked])
        yield np.concatenate(
            [out.ravel() for one in batches for out in engine.outputs(one, *KIND_SPECS[manifest.kind].outputs)]
        )


def _states(folder: Path, texts: Sequence[str]) -> Iterator[NDArray[np.float32]]:
    """The token states of each text, (tokens, hidden)."""
    with refusing_damage(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = load_transformers(AutoModel, folder, may_lack="pooler.").float().eval()
    longest = longest_input(model, tokenizer)
    for text in texts:
        inputs = tokenizer(text, truncation=longest is not None, max_length=longest, return_tensors="pt")
        with torch.no_grad():
            states: NDArray[np.float32] = model(**inputs).last_hidden_state[0].numpy()
        yield states
