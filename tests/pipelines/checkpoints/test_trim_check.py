import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertModel

from pipelines.checkpoints.trim_check import check_outputs, check_tokens, check_transformers_tokens
from pipelines.checkpoints.trim_texts import Text
from pipelines.errors import CheckpointUnsupported
from tests.checkpoint_factory import bert_config, save_with_wordpiece
from tests.pipelines.checkpoints.damage import copy, edit_weights

TEXTS = [Text(f"t.txt, line {number}", "the museum " * number) for number in range(1, 40)]
OTHER_TOKENS = "here: t.txt, line 7: other tokens than before"


def words(*pieces: str) -> Tokenizer:
    ids = {piece: number for number, piece in enumerate(("[UNK]", *pieces))}
    made = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def test_the_same_tokens_may_have_other_ids() -> None:
    check_tokens(words("x", "a", "b"), words("a", "b"), [Text("t.txt, line 7", "a b")], "here")


def test_other_tokens_and_offsets_are_refused_naming_the_line_but_not_the_text() -> None:
    before = words("a", "b")
    shifted = words("a", "b")
    shifted.normalizer = normalizers.Replace("é", "")
    for after, text in ((words("a"), "a b"), (shifted, "aé b")):
        with pytest.raises(CheckpointUnsupported, match=OTHER_TOKENS) as caught:
            check_tokens(before, after, [Text("t.txt, line 1", "a"), Text("t.txt, line 7", text)], "here")
        assert text not in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An encoder without a head."""
    save_with_wordpiece(BertModel(bert_config()), tmp_path / "encoder")
    return tmp_path / "encoder"


def test_the_tokenizers_of_transformers_are_compared_too(folder: Path, tmp_path: Path) -> None:
    after = copy(folder, tmp_path / "after")
    check_transformers_tokens(folder, after, TEXTS)
    content = json.loads((after / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"]["nothing"] = content["model"]["vocab"].pop("museum")
    (after / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointUnsupported, match="line 1: other tokens than before"):
        check_transformers_tokens(folder, after, TEXTS)
    (after / "tokenizer_config.json").unlink()
    check_transformers_tokens(folder, after, TEXTS)  # transformers can't read it, so there is nothing to compare


def test_other_token_states_of_an_encoder_are_refused(folder: Path, tmp_path: Path) -> None:
    after = copy(folder, tmp_path / "after")
    check_outputs(folder, after, None, TEXTS)
    edit_weights(after, lambda weights: weights["encoder.layer.1.output.LayerNorm.bias"].add_(0.001))
    with pytest.raises(CheckpointUnsupported, match="line 1: other outputs than before"):
        check_outputs(folder, after, None, TEXTS)
