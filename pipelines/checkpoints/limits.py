"""Find the limits of a model by trying it: what a config promises does not say where its positions begin."""

import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from pipelines.engines.torch_engine import rotary_by_length, takes_types
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

    It is the lower one of `most` and the tokenizer's limit, or less if the model fails on an input of that length: then
    it is the longest input on which the model works. What the config names is no limit for models that compute their
    positions, and is only believed where it is more than `MOST_TRIED_WHOLE`. Lengths up to `MOST_TRIED` are tried.
    Raises CheckpointUnsupported, with the model's error, if the model fails on a short text as well.
    """
    positions = _positions(model.config)
    cuts = (limit_of(tokenizer), most, *(count for count in positions if count > MOST_TRIED_WHOLE))
    promised = min((cut for cut in cuts if cut is not None), default=None)
    tried = MOST_TRIED if promised is None else min(promised, MOST_TRIED)
    trial = Trial(model, tokenizer)
    with _evaluating(model):
        fails = next((length for length in (min(tried, MOST_TRIED_WHOLE), tried) if not trial.works(length)), None)
        if fails is None:
            return _untried(model, promised)
        fewest = min(FEWEST, fails)
        if not trial.works(fewest):
            raise CheckpointUnsupported(type(model).__name__, f"fails on a text of {FEWEST} tokens: {trial.why}")
        offset = (getattr(model.config, "pad_token_id", None) or 0) + 1
        return _bisect(trial, fewest, fails, [*positions, fails], offset)


def limit_of(tokenizer: Any) -> int | None:
    """The longest input that a transformers tokenizer names; None: it names none, by None, -1 or a number like 1e30."""
    longest = tokenizer.model_max_length
    return int(longest) if longest is not None and 0 < longest < UNLIMITED else None


def reads_batches(model: Any, tokenizer: Any) -> bool:
    """Whether the model reads several texts at once. Decoders that classify and have no pad token refuse that."""
    with _evaluating(model):
        return Trial(model, tokenizer, items=2).works(FEWEST)


def runs_padded(model: Any, tokenizer: Any) -> bool:
    """Whether a model gives the same results if its texts are padded, as far as its config tells.

    False for rotary embeddings whose frequencies depend on the longest text, and for a model whose config names no pad
    token, if it reads only one text at a time without.
    """
    if rotary_by_length(model):
        logger.warning(
            "the positions of this %s depend on the longest text of a batch, so only items of equal length will run "
            "together",
            type(model).__name__,
        )
        return False
    if getattr(model.config.get_text_config(), "pad_token_id", None) is not None or reads_batches(model, tokenizer):
        return True
    logger.warning(
        "the config of this %s names no pad_token_id, so only items of equal length will run together",
        type(model).__name__,
    )
    return False


def _untried(model: Any, promised: int | None) -> int | None:
    if promised is not None and promised > MOST_TRIED:
        name = type(model).__name__
        logger.warning("%s promises inputs of %d tokens; only %d were tried", name, promised, MOST_TRIED)
    return promised


def _bisect(trial: "Trial", works: int, fails: int, tables: Sequence[int], offset: int) -> int:
    """The highest length between `works` and `fails` that works.

    `tables` are likely numbers of positions, which are tried first: in many models positions begin behind the id of the
    padded token, so that `offset` fewer can be used.
    """
    guesses = [guess for count in tables for last in (count, count - offset) for guess in (last, last + 1)]
    while fails - works > 1:
        middle = next((guess for guess in guesses if works < guess < fails), (works + fails) // 2)
        works, fails = (middle, fails) if trial.works(middle) else (works, middle)
    return works


def _positions(config: Any) -> list[int]:
    """The numbers of positions that the config names."""
    parts = [config, *(getattr(config, name, None) for name in ("encoder", "text_config"))]
    named = [getattr(part, name, None) for part in parts for name in ("max_position_embeddings", "n_positions")]
    return sorted({count for count in named if isinstance(count, int) and 0 < count < UNLIMITED})


class Trial:
    """Forward passes on texts of given lengths.

    items  how many times the text is in the batch
    why    what the last pass that failed said
    """

    def __init__(self, model: Any, tokenizer: Any, items: int = 1) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._items = items
        self._names = set(inspect.signature(model.forward).parameters)
        if not takes_types(model):
            self._names.discard("token_type_ids")
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
