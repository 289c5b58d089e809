"""Find the limits of a model by trying it: what a config promises does not say where its positions begin."""

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from pipelines.errors import CheckpointUnsupported
from pipelines.format.loading import reason

logger = logging.getLogger(__name__)

UNLIMITED = 10**7  # libraries say "no limit" by None, -1 or numbers like 1e30
MOST_TRIED = 8192  # tokens; longer inputs would need gigabytes
MOST_TRIED_WHOLE = 1024  # tokens; for longer inputs only what is before the layers runs: the lookup of positions
FEWEST = 8  # tokens of a short text, which every model must read
SAMPLE = "오늘 비가 3 the a . "


class _LayersReachedError(Exception):
    """The model has looked up the positions of an input."""


def longest_input(model: Any, tokenizer: Any, most: int | None = None) -> int | None:
    """The longest input of a transformers model in tokens, with special tokens; None: there is no limit.

    It is the lowest number that the tokenizer, the config and `most` name, or less if the model fails on an input of
    that length: then it is the longest input on which the model works. Only lengths up to `MOST_TRIED` are tried.
    Raises CheckpointUnsupported, with the model's error, if the model fails on a short text as well.
    """
    promised = _promised(model.config, tokenizer, most)
    tried = MOST_TRIED if promised is None else min(promised, MOST_TRIED)
    trial = Trial(model, tokenizer)
    with _evaluating(model):
        if trial.works(tried):
            return _untried(model, promised)
        if not trial.works(min(FEWEST, tried)):
            raise CheckpointUnsupported(type(model).__name__, f"fails on a text of {FEWEST} tokens: {trial.why}")
        return _bisect(trial, min(FEWEST, tried), tried, (getattr(model.config, "pad_token_id", None) or 0) + 1)


def reads_batches(model: Any, tokenizer: Any) -> bool:
    """Whether the model reads several texts at once. Decoders that classify and have no pad token refuse that."""
    with _evaluating(model):
        return Trial(model, tokenizer, items=2).works(FEWEST)


def _untried(model: Any, promised: int | None) -> int | None:
    if promised is not None and promised > MOST_TRIED:
        name = type(model).__name__
        logger.warning("%s promises inputs of %d tokens; only %d were tried", name, promised, MOST_TRIED)
    return promised


def _bisect(trial: "Trial", works: int, fails: int, offset: int) -> int:
    """The highest length between `works` and `fails` that works.

    `fails - offset` is tried first: in many models positions begin behind the id of the padded token.
    """
    guess = fails - offset
    while fails - works > 1:
        middle = guess if works < guess < fails else (works + fails) // 2
        works, fails = (middle, fails) if trial.works(middle) else (works, middle)
    return works


def _promised(config: Any, tokenizer: Any, most: int | None) -> int | None:
    """The lowest limit that is named, if any."""
    parts = [config, *(getattr(config, name, None) for name in ("encoder", "text_config"))]
    named = [getattr(part, name, None) for part in parts for name in ("max_position_embeddings", "n_positions")]
    lengths = [length for length in (*named, tokenizer.model_max_length, most) if isinstance(length, int | float)]
    return min((int(length) for length in lengths if 0 < length < UNLIMITED), default=None)


class Trial:
    """Forward passes on texts of given lengths.

    items  how many times the text is in the batch
    why    what the last pass that failed said
    """

    def __init__(self, model: Any, tokenizer: Any, items: int = 1) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._items = items
        self._names = inspect.signature(model.forward).parameters.keys()
        asked = "QuestionAnswering" in type(model).__name__
        self._before = ["a"] if asked else []
        self._cut: str | bool = "only_second" if asked else True
        self.why = ""

    def works(self, length: int) -> bool:
        """Whether the model reads a text of `length` tokens."""
        texts = self._tokenizer(
            *self._before, SAMPLE * length, truncation=self._cut, max_length=length, return_tensors="pt"
        )
        inputs = {
            name: values.to(self._model.device).repeat(self._items, 1)
            for name, values in texts.items()
            if name in self._names
        }
        try:
            with torch.no_grad(), _stopping(self._model, stop=length > MOST_TRIED_WHOLE):
                self._model(**inputs)
        except _LayersReachedError:
            return True
        except Exception as error:  # IndexError, RuntimeError, ...
            self.why = reason(error)
            return False
        return True


@contextmanager
def _stopping(model: nn.Module, *, stop: bool) -> Iterator[None]:
    """If `stop`, raise _LayersReachedError when the first layer of the model is called."""
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part)]
    if not stop or not lists:
        yield
        return
    layers = max(lists, key=lambda part: sum(weights.numel() for weights in part.parameters()))
    handle = layers[0].register_forward_pre_hook(_reached)
    try:
        yield
    finally:
        handle.remove()


def _reached(*_: object) -> None:
    raise _LayersReachedError


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Turn dropout off while the context lasts."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
