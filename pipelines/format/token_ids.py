"""Token ids that callers see: texts as tokens with their places, tokens as texts, and ids as input of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from pipelines.errors import FieldFault, InvalidInput
from pipelines.format.manifest import Manifest, Role
from pipelines.format.tokenizer import TextTokenizer
from pipelines.text.normalization import Normalized
from pipelines.text.token_batch import TokenBatch

TextOrIds: TypeAlias = str | tuple[int, ...]


class Token(NamedTuple):
    """One token: its id, its text in the vocabulary, and the half-open span of characters of the original text.

    Tokens of the prompt and special tokens have no span.
    """

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedInputs:
    """Inputs as tokens.

    tokens  one item per good input, in order
    faults  why the other inputs can't be used, by the index of the input
    """

    tokens: TokenBatch
    faults: dict[int, InvalidInput]


class IdTokenizer:
    """Shows the ids of a checkpoint's tokenizer, and takes them back as input."""

    def __init__(self, text: TextTokenizer, manifest: Manifest) -> None:
        self._text = text
        self._manifest = manifest
        self._ref = manifest.ref
        self._size = text.tokenizer.get_vocab_size(with_added_tokens=True)
        template = text.tokenizer.encode("a", add_special_tokens=manifest.special_tokens)
        own = [place for place, part in enumerate(template.sequence_ids) if part == 0]
        self._head = tuple(template.ids[: own[0]])
        self._tail = tuple(template.ids[own[-1] + 1 :])
        self._type = template.type_ids[own[0]]
        added = text.tokenizer.get_added_tokens_decoder()
        self._special = {number for number, token in added.items() if token.special}

    def inputs(self, inputs: Sequence[tuple[TextOrIds, Role]]) -> TokenizedInputs:
        """The tokens of texts and of token ids, each with the prompt of its role.

        Ids that begin with a special token are the whole input of the model. Others are those of a text, and get the
        prompt and the special tokens. Ids outside of the vocabulary, and more than the model reads, are faults.
        """
        faults: dict[int, InvalidInput] = {}
        items: dict[int, tuple[TokenBatch, int]] = {}
        for role in {role for _, role in inputs}:
            numbers = [number for number, (text, own) in enumerate(inputs) if own == role and isinstance(text, str)]
            batch = self._text.passages([str(inputs[number][0]) for number in numbers], role)
            items |= {number: (batch, place) for place, number in enumerate(numbers)}
            if len(numbers) == len(inputs):
                return TokenizedInputs(batch, {})
        for number, (ids, role) in enumerate(inputs):
            if not isinstance(ids, str):
                try:
                    items[number] = (self._of_ids(ids, role), 0)
                except InvalidInput as fault:
                    faults[number] = fault
        good = [items[number] for number in sorted(items)]
        return TokenizedInputs(TokenBatch.take(good) if good else self._text.passages([]), faults)

    def tokens(self, texts: Sequence[str], role: Role, *, whole_input: bool) -> list[list[Token]]:
        """The tokens of each text: the whole input of the model, which may be longer than it reads, or only its own."""
        prompt = self._manifest.prompts.of(role) if whole_input else ""
        tokenizer = self._text.tokenizer
        tokenizer.no_truncation()
        whole = [Normalized.of(prompt + text) for text in texts]
        special = whole_input and self._manifest.special_tokens
        encodings = tokenizer.encode_batch([one.text for one in whole], add_special_tokens=special)
        found = []
        for text, encoding in zip(whole, encodings, strict=True):
            spans = text.to_original(np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)) - len(prompt)
            rows = zip(encoding.ids, encoding.tokens, encoding.special_tokens_mask, spans.tolist(), strict=True)
            found.append([_token(number, word, bool(mask), span) for number, word, mask, span in rows])
        return found

    def decode(self, ids: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        """The text of each list of ids. Raises InvalidInput for ids outside of the vocabulary."""
        for one in ids:
            self._refuse_foreign(one)
        texts: list[str] = self._text.tokenizer.decode_batch(
            [list(one) for one in ids], skip_special_tokens=skip_special_tokens
        )
        return texts

    def _of_ids(self, ids: tuple[int, ...], role: Role) -> TokenBatch:
        self._refuse_foreign(ids)
        whole = ids if ids[0] in self._special else (*self._head, *self._prompt_ids(role), *ids, *self._tail)
        most = self._manifest.max_tokens
        if most is not None and len(whole) > most:
            detail = f"there are {len(whole):,} token ids with prompt and special tokens; the model reads {most:,}"
            raise InvalidInput(FieldFault("", "too_many_tokens", detail))
        return TokenBatch(
            checkpoint=self._ref,
            ids=np.array(whole, dtype=np.int32),
            types=np.full(len(whole), self._type, dtype=np.uint8),
            lengths=np.array([len(whole)], dtype=np.int32),
            truncated=np.zeros(1, dtype=np.bool_),
        )

    def _prompt_ids(self, role: Role) -> list[int]:
        prompt = self._manifest.prompts.of(role).rstrip()  # the space belongs to the first token of the text
        ids: list[int] = self._text.tokenizer.encode(prompt, add_special_tokens=False).ids if prompt else []
        return ids

    def _refuse_foreign(self, ids: Sequence[int]) -> None:
        if any(not 0 <= one < self._size for one in ids):
            detail = (
                f"a token id is outside of the model's vocabulary of {self._size:,}; send text, or ids of /tokenize"
            )
            raise InvalidInput(FieldFault("", "foreign_token_id", detail))


def _token(number: int, word: str, special: bool, span: list[int]) -> Token:
    start, stop = span
    if special or stop <= 0:  # of the prompt
        return Token(number, word, special, None, None)
    return Token(number, word, special, max(start, 0), stop)
