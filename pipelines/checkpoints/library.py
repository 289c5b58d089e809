"""The answers that a model gives with the library that it comes from: what its checkpoint must give when it is served.

Each text goes through the library alone, so nothing is padded, and as if it were the first one.
"""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from pipelines.checkpoints.limits import UNLIMITED, limit_of
from pipelines.checkpoints.tasks.definition import Scores
from pipelines.engines.torch_engine import forget_earlier_inputs, takes_types
from pipelines.format.kinds import auto_class_of
from pipelines.format.manifest import Kind, Manifest
from pipelines.format.tokenizer import drop_sampling
from pipelines.sts.data import HIGHEST_SCORE

Answer = Callable[[Any], Scores]


def library_scores(source: Path, manifest: Manifest, items: Sequence[Any]) -> list[Scores]:
    """What the library gives for each item of the manifest's task; `source` is the folder that the library loads."""
    load: dict[Kind, Callable[[Path, Manifest], tuple[Any, Answer]]] = {
        "bi-encoder": _bi_encoder,
        "cross-encoder": _cross_encoder,
        "classifier": _classifier,
        "extractor": _extractor,
    }
    with torch.inference_mode():
        tokenizer, answer = load[manifest.kind](source, manifest)
        return [_within_reach(answer, item, tokenizer, manifest.max_tokens) for item in items]


def _within_reach(answer: Answer, item: Any, tokenizer: Any, longest: int | None) -> Scores:
    """The answer for the item, which is cut to `longest` tokens if it is longer and the library fails on it.

    A library cuts texts at the limit that it reads in the files, which may be more than the positions of the model.
    """
    try:
        return answer(item)
    except (IndexError, RuntimeError):
        if longest is None or not isinstance(tokenizer, PreTrainedTokenizerBase):
            raise
    tokenizer.model_max_length = min(longest, limit_of(tokenizer) or longest)
    return answer(item)


def _bi_encoder(source: Path, _manifest: Manifest) -> tuple[Any, Answer]:
    model = SentenceTransformer(
        str(source), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"}
    ).float()
    _make_repeatable(model, model.tokenizer)
    _name_pad_token(model.tokenizer)

    def answer(pair: tuple[str, str]) -> Scores:
        left, right = (model.encode(text, normalize_embeddings=True, show_progress_bar=False) for text in pair)
        return (float(np.dot(left, right)),)

    return model.tokenizer, answer


def _cross_encoder(source: Path, manifest: Manifest) -> tuple[Any, Answer]:
    model = CrossEncoder(str(source), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"})
    _make_repeatable(model, model.tokenizer)
    _name_pad_token(model.tokenizer)
    _withhold_unknown_types(model.model, model.tokenizer)
    # The library applies a sigmoid to regression models that transformers has written, and transformers does not.
    own = torch.nn.Identity() if manifest.activation == "identity" else None
    lowest, highest = manifest.scale or (0.0, HIGHEST_SCORE)

    def answer(pair: tuple[str, str]) -> Scores:
        (predicted,) = model.predict([pair], activation_fn=own, show_progress_bar=False)
        return (float(np.clip(HIGHEST_SCORE * (predicted - lowest) / (highest - lowest), 0, HIGHEST_SCORE)),)

    return model.tokenizer, answer


def _classifier(source: Path, manifest: Manifest) -> tuple[Any, Answer]:
    forward = _Forward(source, manifest)

    def answer(passage: str) -> Scores:
        logits = forward(forward.tokenizer(passage, truncation=True)).logits
        return (float(logits.softmax(dim=-1)[0, manifest.positive_output]),)

    return forward.tokenizer, answer


def _extractor(source: Path, manifest: Manifest) -> tuple[Any, Answer]:
    forward, settings = _Forward(source, manifest), manifest.windows_with()

    def answer(request: tuple[str, str]) -> Scores:
        """The best span of all windows, and the lowest null score, from the windows that transformers makes."""
        asked = forward.tokenizer(request[0], add_special_tokens=False, return_offsets_mapping=True)
        read = asked["offset_mapping"][: settings.max_query_length]
        room = settings.max_seq_length - len(read) - forward.tokenizer.num_special_tokens_to_add(pair=True)
        windows = forward.tokenizer(
            request[0][: read[-1][1]],
            request[1],
            truncation="only_second",
            max_length=settings.max_seq_length,
            stride=room - settings.stride(room),
            return_overflowing_tokens=True,
        )
        scores = [
            _span_scores(forward, windows, number, request[1], settings.max_answer_length)
            for number in range(len(windows.encodings))
        ]
        return max(best for best, _ in scores), min(null for _, null in scores)

    return forward.tokenizer, answer


def _span_scores(forward: "_Forward", windows: Any, number: int, context: str, longest: int) -> tuple[float, float]:
    """The scores of a window's best span that holds more than blanks, and of its first token: no answer."""
    output = forward({name: values[number] for name, values in windows.items()})
    places = [place for place, part in enumerate(windows.sequence_ids(number)) if part == 1]
    start, end = (logits[0, places] for logits in (output.start_logits, output.end_logits))
    sums = start[:, None] + end[None, :]  # (first token, last token)
    sums[~torch.ones_like(sums).triu().tril(longest - 1).bool()] = -torch.inf
    offsets = [windows.encodings[number].offsets[place] for place in places]
    for span in sums.flatten().argsort(descending=True).tolist():
        first, last = divmod(span, len(places))
        if context[offsets[first][0] : offsets[last][1]].strip():
            break
    return float(sums[first, last]), float(output.start_logits[0, 0] + output.end_logits[0, 0])


class _Forward:
    """A transformers model with its own tokenizer, on one text or pair at a time."""

    def __init__(self, source: Path, manifest: Manifest) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        self._model = (
            auto_class_of(manifest.kind).from_pretrained(source, local_files_only=True, dtype="float32").eval()
        )
        _make_repeatable(self._model, self.tokenizer)
        _withhold_unknown_types(self._model, self.tokenizer)
        self._parameters = inspect.signature(self._model.forward).parameters

    def __call__(self, encoded: Any) -> Any:
        """The model's output for what the tokenizer gave."""
        inputs = {name: torch.tensor([values]) for name, values in encoded.items() if name in self._parameters}
        return self._model(**inputs)


def _withhold_unknown_types(model: torch.nn.Module, tokenizer: Any) -> None:
    """Let a tokenizer with two token types, such as KLUE's, serve a model with one: the library fails on the second."""
    if not takes_types(model):
        tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]


def _name_pad_token(tokenizer: Any) -> None:
    """Let sentence-transformers tokenize a text alone: it pads that by nothing, but needs the name of a pad token."""
    if isinstance(tokenizer, PreTrainedTokenizerBase) and tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)


def _make_repeatable(model: torch.nn.Module, tokenizer: Any) -> None:
    """Make the library give the same answer for the same text each time, whatever came before.

    It would also pass on -1 or 0, by which some files say that there is no limit, as the length of a text.
    """
    forget_earlier_inputs(model)
    if isinstance(tokenizer, PreTrainedTokenizerBase):
        tokenizer.model_max_length = limit_of(tokenizer) or UNLIMITED
    fast = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if isinstance(fast, Tokenizer):
        drop_sampling(fast)
