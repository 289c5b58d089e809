import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from pipelines.checkpoints.trim_tokenizer import TokenIds, named_ids, read_tokenizer, trim_tokenizer
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported

VOCAB = {piece: number for number, piece in enumerate(["x", "[CLS]", "y", "[PAD]", "[SEP]", "[UNK]", "b", "a"])}
KEPT = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "b")
ENDS = (("[SEP]", VOCAB["[SEP]"]), ("[CLS]", VOCAB["[CLS]"]))
POST_PROCESSORS = {
    "template": processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=list(ENDS)),
    "bert": processors.BertProcessing(*ENDS),
    "roberta": processors.RobertaProcessing(*ENDS),
    "sequence": processors.Sequence([processors.ByteLevel(), processors.BertProcessing(*ENDS)]),
}


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordPiece(VOCAB, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(["[PAD]"])
    return made


def content_of(tokenizer: Tokenizer) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    return content


def trimmed(tokenizer: Tokenizer, pieces: set[str]) -> Tokenizer:
    content, ids = content_of(tokenizer), tokenizer.get_vocab()
    return trim_tokenizer(content, ids, TokenIds.of(ids, pieces, named_ids(content, "here")), "here")


@pytest.mark.parametrize("kind", POST_PROCESSORS)
def test_the_ids_in_a_post_processor_are_renumbered(kind: str) -> None:
    before = tokenizer()
    before.post_processor = POST_PROCESSORS[kind]
    after = trimmed(before, {"[UNK]", "b"})
    assert after.get_vocab() == {piece: number for number, piece in enumerate(KEPT)}
    assert after.encode("b c").tokens == before.encode("b c").tokens == ["[CLS]", "b", "[UNK]", "[SEP]"]
    assert after.encode("b c").ids == [0, 4, 3, 2]


def test_padding_truncation_and_added_tokens_are_kept() -> None:
    before = tokenizer()
    before.add_tokens(["<new>"])
    before.enable_padding(pad_id=VOCAB["[PAD]"], pad_token="[PAD]", length=4)
    before.enable_truncation(3)
    after = trimmed(before, {"[UNK]", "b"})
    assert after.padding is not None
    assert (after.padding["pad_id"], after.truncation) == (after.token_to_id("[PAD]"), before.truncation)
    texts = ["<new>b", "b b b b"]
    assert [one.tokens for one in after.encode_batch(texts)] == [one.tokens for one in before.encode_batch(texts)]
    assert after.encode("<new>").ids[0] == after.token_to_id("<new>") == len(after.get_vocab()) - 1


def test_the_unknown_id_of_unigram_is_renumbered() -> None:
    pieces = [("x", -3.0), ("a", -1.0), ("<unk>", 0.0)]
    before = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    after = trimmed(before, {"a"})
    assert after.get_vocab() == {"a": 0, "<unk>": 1}
    assert after.encode("ax").ids == [0, 1]


def test_merges_of_remaining_pieces_stay_in_order() -> None:
    merges = [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc")]
    pieces = ["a", "b", "c", "bc", "ab", "abc"]
    before = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, merges))
    after = trimmed(before, {"a", "b", "c", "bc", "abc"})
    assert content_of(after)["model"]["merges"] == [["b", "c"], ["a", "bc"]]


def test_an_unknown_post_processor_is_refused() -> None:
    content = {**content_of(tokenizer()), "post_processor": {"type": "Novel"}}
    with pytest.raises(CheckpointUnsupported, match="post-processor of unknown type Novel"):
        named_ids(content, "here")


def test_a_tokenizer_that_the_library_would_number_differently_is_refused() -> None:
    """The added token has a lower id than the model's pieces; the library would give it a higher one."""
    before = Tokenizer(models.WordPiece({"[UNK]": 1, "b": 2}, unk_token="[UNK]"))
    content = content_of(before)
    ids = {"<new>": 0, "[UNK]": 1, "b": 2}
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content["added_tokens"] = [{"id": 0, "content": "<new>", **added}]
    with pytest.raises(CheckpointUnsupported, match="its added tokens have ids that would not stay in order"):
        trim_tokenizer(content, ids, TokenIds((0, 1, 2)), "here")


def test_a_file_that_is_not_a_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointDamaged, match=r"tokenizer\.json"):
        read_tokenizer(path)
