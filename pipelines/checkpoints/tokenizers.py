"""Save the tokenizer of an imported model as tokenizer.json, and refuse one that would give other tokens there."""

import json
import logging
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers.convert_slow_tokenizer import convert_slow_tokenizer

from pipelines.engines.torch_engine import takes_types
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.loading import reason, refusing_damage
from pipelines.format.tokenizer import TOKENIZER

logger = logging.getLogger(__name__)

TEXTS = (
    "오늘은 비가 많이 옵니다.",
    "시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다.",
    "회의는 세 시에 시작해요.",
    "The children are playing in the garden.",
    "The museum is in Busan. It opened in 1998 and shows old ships.",
    "Where is the museum?",
)
MOST_UNKNOWN = 0.9
"""The share of the words of `TEXTS` that may be unknown; a model for another alphabet still knows most of the Latin."""
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
MARK = "\u2581"
"""SentencePiece's mark of a blank, with which its pieces at the beginning of words begin."""
MOST_MARKED = 0.05
"""The share of the pieces of a WordPiece vocabulary that may begin with `MARK`."""


def save_tokenizer(tokenizer: Any, source: Path, folder: Path) -> None:
    """Make sure that `folder`, where `tokenizer` is saved already, holds it as tokenizer.json at its top.

    A tokenizer that exists only in Python is converted. Raises CheckpointUnsupported, naming the class, if that is not
    possible or the result gives other tokens, and if the vocabulary does not fit the tokenizer.
    """
    path = folder / TOKENIZER
    if not path.is_file():
        fast = tokenizer if isinstance(tokenizer, Tokenizer) else getattr(tokenizer, "backend_tokenizer", None)
        (fast or convert(tokenizer, source)).save(str(path))
    with refusing_damage(source):
        saved = Tokenizer.from_file(str(path))
    refuse_unknown_words(saved, source, type(tokenizer).__name__)


def convert(slow: Any, source: Path) -> Tokenizer:
    """The fast form of a tokenizer that exists only in Python. Raises as `save_tokenizer`."""
    name = type(slow).__name__
    try:
        fast: Tokenizer = convert_slow_tokenizer(slow)
        other = next((text for text in TEXTS if fast.encode(text).ids != slow(text)["input_ids"]), None)
    except Exception as error:  # no converter for the class, or files of its own are missing
        why = f"its tokenizer {name} has no fast version: {reason(error)}"
        raise CheckpointUnsupported(str(source), why) from error
    if other is not None:
        why = f"its tokenizer {name} has no fast version: converted, it gives other tokens for {other!r}"
        raise CheckpointUnsupported(str(source), why)
    return fast


def refuse_unknown_words(tokenizer: Tokenizer, source: Path, name: str) -> None:
    """Raise CheckpointUnsupported if the vocabulary does not fit the tokenizer, so that nearly all words are unknown.

    This happens if a folder has the pieces of one kind of tokenizer and, in tokenizer_config.json or by default, the
    class of another, as KoBERT's has.
    """
    model = json.loads(tokenizer.to_str())["model"]
    unknown = model.get("unk_token")
    unknown_id = model.get("unk_id") if unknown is None else tokenizer.token_to_id(unknown)
    words = [word for text in TEXTS for word in text.rstrip(".?").split()]
    lost = sum(set(tokenizer.encode(word, add_special_tokens=False).ids) == {unknown_id} for word in words)
    marked = sum(piece.startswith(MARK) for piece in model["vocab"]) if model["type"] == "WordPiece" else 0
    if lost <= MOST_UNKNOWN * len(words) and marked <= MOST_MARKED * len(model["vocab"]):
        return
    why = (
        f"its vocabulary does not fit its tokenizer {name}: {lost} of {len(words)} Korean and English words are unknown"
    )
    if marked:
        why += f", and its pieces begin with SentencePiece's mark {MARK}; save the model's own tokenizer as {TOKENIZER}"
    raise CheckpointUnsupported(str(source), why)


def refuse_without_vocabulary(folder: Path) -> None:
    """Raise CheckpointDamaged if a folder has no vocabulary.

    In this case transformers would make a tokenizer with only special tokens, without a warning.
    """
    if not any(path for pattern in VOCABULARIES for path in folder.rglob(pattern)):
        raise CheckpointDamaged(str(folder), "holds no tokenizer vocabulary")


def table_rows(model: Any) -> int:
    """The number of tokens that have a row in the embedding table of a transformers model."""
    return int(model.get_input_embeddings().weight.shape[0])


def fit_to_table(rows: int, source: Path, folder: Path) -> None:
    """Remove special tokens without a row in the embedding table from the tokenizer in `folder`.

    transformers adds the usual ones of a class, such as <|endoftext|>, to a vocabulary without them, and then fails on
    a text that has one. Raises CheckpointDamaged if another token has no row: requests with it would fail.
    """
    path = folder / TOKENIZER
    content = json.loads(path.read_text(encoding="utf-8"))
    beyond = [token for token in content["added_tokens"] if token["special"] and token["id"] >= rows]
    if beyond:
        content["added_tokens"] = [token for token in content["added_tokens"] if token not in beyond]
        path.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")
        names = ", ".join(token["content"] for token in beyond)
        logger.info("%s: removed the special tokens %s, which have no row in the embedding table", source, names)
    with refusing_damage(source):
        highest = max(Tokenizer.from_file(str(path)).get_vocab().values())
    if highest >= rows:
        why = f"its tokenizer has token ids up to {highest}, but its embedding table only {rows} rows"
        why += "; remove the added tokens, or resize the table and train it (model.resize_token_embeddings)"
        raise CheckpointDamaged(str(source), why)


def gives_types(tokenizer: Any) -> bool:
    """Whether a transformers tokenizer gives token types."""
    return "token_type_ids" in tokenizer.model_input_names


def input_fields(tokenizer: Any, model: Any) -> dict[str, Any]:
    """The manifest's fields about what a transformers tokenizer gives to a model."""
    withheld = takes_types(model) and not gives_types(tokenizer)
    return {
        "token_types": not withheld,
        "truncation_side": tokenizer.truncation_side,
        "split_special_tokens": bool(tokenizer.split_special_tokens),
    }
