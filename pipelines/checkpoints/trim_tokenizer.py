"""Trim a tokenizer: remove pieces of its vocabulary and renumber the others in their old order."""

import json
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tokenizers import Tokenizer

from pipelines.errors import CheckpointUnsupported
from pipelines.format.loading import refusing_damage

Move = Callable[[int], int]


@dataclass(frozen=True)
class TokenIds:
    """The old ids of the tokens that stay, in ascending order. The index of an old id is the new id."""

    kept: tuple[int, ...]

    @classmethod
    def of(cls, ids: Mapping[str, int], pieces: Set[str], needed: Set[int]) -> Self:
        """The ids of `pieces`, and the ids in `needed` that belong to a token."""
        return cls(tuple(sorted({ids[piece] for piece in pieces} | (needed & set(ids.values())))))

    @property
    def moved(self) -> dict[int, int]:
        """New ids by old ids."""
        return {old: new for new, old in enumerate(self.kept)}


def read_tokenizer(path: Path) -> tuple[dict[str, Any], Tokenizer]:
    """Read a tokenizer.json. Returns its content and the tokenizer, without truncation and padding.

    The content has the form of the installed library, whichever version wrote the file. Raises CheckpointDamaged.
    """
    with refusing_damage(path):
        tokenizer = Tokenizer.from_file(str(path))
        content: dict[str, Any] = json.loads(tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return content, tokenizer


def named_ids(content: dict[str, Any], where: str) -> set[int]:
    """All ids that the tokenizer names outside of its vocabulary; they must stay even if no text uses them."""
    named: set[int] = set()

    def note(number: int) -> int:
        named.add(number)
        return number

    _renumber(content, note, where)
    unknown = content["model"].get("unk_id")
    return named if unknown is None else named | {unknown}


def trim_tokenizer(content: dict[str, Any], ids: Mapping[str, int], numbers: TokenIds, where: str) -> Tokenizer:
    """A tokenizer with only the tokens in `numbers`; `ids` holds the old ids of all tokens.

    Raises CheckpointUnsupported if a step of the tokenizer is unknown or the library numbers the tokens differently.
    """
    moved = numbers.moved
    renumbered = _renumber(content, moved.__getitem__, where)
    pieces = {piece: moved[number] for piece, number in ids.items() if number in moved}
    renumbered["model"] = _trim_model(content["model"], pieces, moved)
    trimmed = Tokenizer.from_str(json.dumps(renumbered, ensure_ascii=False))
    if trimmed.get_vocab(with_added_tokens=True) != pieces:
        raise CheckpointUnsupported(where, "its added tokens have ids that would not stay in order")
    return trimmed


def _trim_model(model: dict[str, Any], pieces: Mapping[str, int], moved: Mapping[int, int]) -> dict[str, Any]:
    if model["type"] == "Unigram":
        unknown = model["unk_id"]
        vocab = [entry for entry in model["vocab"] if entry[0] in pieces]
        return {**model, "vocab": vocab, "unk_id": None if unknown is None else moved[unknown]}
    trimmed = {**model, "vocab": {piece: pieces[piece] for piece in model["vocab"] if piece in pieces}}
    if model["type"] == "BPE":
        known = trimmed["vocab"]
        merges = model["merges"]
        trimmed["merges"] = [pair for pair in merges if {*pair, "".join(pair)} <= known.keys()]
    return trimmed


def _renumber(content: dict[str, Any], move: Move, where: str) -> dict[str, Any]:
    """A copy in which every id outside of the model is replaced by `move(id)`."""
    padding, post = content.get("padding"), content.get("post_processor")
    added = sorted(content["added_tokens"], key=lambda token: int(token["id"]))
    return {
        **content,
        "added_tokens": [{**token, "id": move(token["id"])} for token in added],
        "padding": padding and {**padding, "pad_id": move(padding["pad_id"])},
        "post_processor": post and _renumber_step(post, move, where),
    }


def _renumber_step(step: dict[str, Any], move: Move, where: str) -> dict[str, Any]:
    match step["type"]:
        case "Sequence":
            return {**step, "processors": [_renumber_step(inner, move, where) for inner in step["processors"]]}
        case "TemplateProcessing":
            tokens = step["special_tokens"]
            moved = {
                name: {**token, "ids": [move(number) for number in token["ids"]]} for name, token in tokens.items()
            }
            return {**step, "special_tokens": moved}
        case "BertProcessing" | "RobertaProcessing":
            ends = {name: [step[name][0], move(step[name][1])] for name in ("sep", "cls")}
            return {**step, **ends}
        case "ByteLevel":
            return step
        case unknown:
            raise CheckpointUnsupported(where, f"its tokenizer has a post-processor of unknown type {unknown}")
