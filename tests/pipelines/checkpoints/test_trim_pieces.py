"""The pieces that stay, for each type of tokenizer, and that they split texts as before."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from pipelines.checkpoints.trim_pieces import PieceFinder, script
from pipelines.checkpoints.trim_texts import Text
from pipelines.checkpoints.trim_tokenizer import TokenIds, named_ids, trim_tokenizer
from pipelines.errors import CheckpointUnsupported
from tests.pipelines.checkpoints.small_tokenizers import KINDS, LINES, SPECIAL, byte_level

UNSEEN = "ЖЩ"


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return KINDS[request.param]()


def content_of(tokenizer: Tokenizer) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    return content


def kept(tokenizer: Tokenizer, texts: list[str], *scripts: str) -> set[str]:
    finder = PieceFinder("here", content_of(tokenizer), tokenizer)
    return finder.find([Text("here", text) for text in texts], scripts)


def trimmed(tokenizer: Tokenizer, texts: list[str], *scripts: str) -> Tokenizer:
    content, ids = content_of(tokenizer), tokenizer.get_vocab()
    numbers = TokenIds.of(ids, kept(tokenizer, texts, *scripts), named_ids(content, "here"))
    return trim_tokenizer(content, ids, numbers, "here")


@pytest.mark.parametrize("seed", range(10))
def test_texts_are_split_as_before_with_fewer_pieces(tokenizer: Tokenizer, seed: int) -> None:
    chosen = random.Random(seed)
    words = [word for line in LINES for word in line.split()]
    texts = ["".join(chosen.sample(words, 2)) + " " + chosen.choice(words) + UNSEEN for _ in range(3)]
    texts += [f"{chosen.choice(words)} <mask>{chosen.choice(words)}", *chosen.sample(words, 2)]
    after = trimmed(tokenizer, texts)
    assert after.get_vocab_size() < tokenizer.get_vocab_size()
    for text in texts:
        old, new = tokenizer.encode(text), after.encode(text)
        assert (new.tokens, new.offsets) == (old.tokens, old.offsets)
    old, new = (one.encode(texts[0], texts[1]) for one in (tokenizer, after))
    assert (new.tokens, new.type_ids) == (old.tokens, old.type_ids)


def test_special_tokens_stay_and_all_tokens_keep_their_order(tokenizer: Tokenizer) -> None:
    after = trimmed(tokenizer, ["회의"])
    ids = after.get_vocab()
    assert [ids[token] for token in SPECIAL] == [0, 1, 2, 3]
    assert sorted(ids.values()) == list(range(len(ids)))
    old = tokenizer.get_vocab()
    assert sorted(ids, key=ids.__getitem__) == sorted(ids, key=old.__getitem__)
    assert ids["<mask>"] == len(ids) - 1 < old["<mask>"]


def test_the_single_characters_of_a_script_stay(tokenizer: Tokenizer) -> None:
    without, latin = (kept(tokenizer, ["회의 회의는"], *scripts) for scripts in ([], ["Latin"]))
    more = latin - without
    if tokenizer.decoder is not None:  # byte-level: see the next test
        return
    bare = {piece.removeprefix("##").removeprefix("▁") for piece in more}
    assert set("museum") <= bare
    assert all(len(letter) == 1 and letter.isalpha() and letter not in "회의는" for letter in bare)


def test_all_bytes_stay_and_multi_byte_characters_with_their_intermediate_pieces() -> None:
    tokenizer = byte_level()
    pieces = kept(tokenizer, ["a"], "Hangul")
    assert set(pre_tokenizers.ByteLevel.alphabet()) <= pieces
    hangul = {piece for piece in tokenizer.get_vocab() if script_of(piece) == "Hangul"}
    assert hangul
    assert hangul <= pieces
    after = trimmed(tokenizer, ["a"], "Hangul")
    for piece in hangul:
        text = decoders.ByteLevel().decode([piece])
        assert after.encode(text).tokens == tokenizer.encode(text).tokens


def script_of(piece: str) -> str:
    text = decoders.ByteLevel().decode([piece]).removeprefix(" ")
    return "Hangul" if len(text) == 1 and "가" <= text <= "힣" else ""


def test_the_cost_of_an_unknown_character_stays_the_same() -> None:
    """Without the piece of the lowest score, unknown characters would be preferred to `ab`."""
    pieces = [("<unk>", 0.0), ("a", -1.0), ("ab", -9.0), ("c", -20.0), ("▁", -1.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    assert tokenizer.encode("ab").tokens == ["ab"]
    assert "c" in kept(tokenizer, ["ab"])


def test_an_unknown_word_stays_unknown() -> None:
    """No piece fits after the longest piece `abc`. Without `abc`, the word would be split into `ab` and `##cd`."""
    pieces = ["<unk>", "a", "ab", "abc", "##cd", "##c", "xcd", "x", "##d!"]
    tokenizer = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    texts = ["abcd", "abab", "abcd", "abcd xcd", "ab", "xx"]
    tokenizer.add_tokens(["##cd"])
    after = trimmed(tokenizer, texts)
    assert tokenizer.encode("abcd").tokens == after.encode("abcd").tokens == ["<unk>"]
    assert "##d!" not in after.get_vocab()


def test_byte_fallback_keeps_all_byte_pieces() -> None:
    pieces = [("<unk>", 0.0), ("a", -1.0), *((f"<0x{byte:02X}>", -5.0) for byte in range(256))]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    assert {piece for piece, _ in pieces[2:]} <= kept(tokenizer, ["a"])


def word_level() -> models.Model:
    return models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (word_level, "its tokenizer is of type WordLevel; Unigram, WordPiece, BPE can be trimmed"),
        (lambda: models.BPE({"a": 0}, [], dropout=0.1), "of type BPE with dropout"),
        (lambda: models.BPE({"a</w>": 0}, [], end_of_word_suffix="</w>"), "of type BPE with end_of_word_suffix"),
    ],
)
def test_tokenizers_that_can_not_be_trimmed_are_refused(make: Callable[[], models.Model], match: str) -> None:
    with pytest.raises(CheckpointUnsupported, match=match):
        kept(Tokenizer(make()), ["a"])


def test_only_scripts_of_unicode_are_accepted() -> None:
    assert [script(name) for name in ("Hangul", "Old_Italic")] == ["Hangul", "Old_Italic"]
    for name in ("Klingon", "Latin}|.", ""):
        with pytest.raises(ValueError, match="Unicode has no script"):
            script(name)
