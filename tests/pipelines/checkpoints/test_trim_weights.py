import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertModel, RobertaConfig, RobertaModel

from pipelines.checkpoints.trim_tokenizer import TokenIds
from pipelines.checkpoints.trim_weights import config_ids, load_encoder, trim_model
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from tests.checkpoint_factory import SIZES, bert_config
from tests.pipelines.checkpoints.damage import WEIGHTS, edit_json, edit_weights

TABLE = "embeddings.word_embeddings.weight"


def config_of(folder: Path, name: str = "config.json") -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BERT with 40 rows in half precision, with token ids in all places of its configuration."""
    config = bert_config(vocab_size=40, pad_token_id=2, bos_token_id=None, eos_token_id=[7, 9])
    BertModel(config).half().save_pretrained(tmp_path)
    edit_json(tmp_path / "config.json", inner={"vocab_size": 40, "sep_token_id": 7}, other={"vocab_size": 12})
    added = {"2": {"content": "[PAD]"}, "9": {"content": "[X]"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}), encoding="utf-8")
    (tmp_path / "vocab.txt").write_text("of the tokenizer before", encoding="utf-8")
    return tmp_path


def test_only_the_embedding_rows_change(folder: Path) -> None:
    before = load_file(folder / WEIGHTS)
    trim_model(folder, load_encoder(folder, None), TokenIds((0, 2, 7, 9, 39)))
    after = load_file(folder / WEIGHTS)
    assert torch.equal(after.pop(TABLE), before.pop(TABLE)[[0, 2, 7, 9, 39]])
    assert all(torch.equal(after[name], weights) for name, weights in before.items())
    assert (folder / WEIGHTS).stat().st_mode & 0o777 == 0o644
    assert {weights.dtype for weights in after.values()} == {torch.float16}
    assert load_encoder(folder, None).get_parameter(TABLE).shape == (5, 32)


def test_token_ids_in_configurations_are_renumbered(folder: Path) -> None:
    assert config_ids(folder) == {2, 7, 9}
    trim_model(folder, load_encoder(folder, None), TokenIds((0, 2, 7, 9)))
    config = config_of(folder)
    assert (config["vocab_size"], config["pad_token_id"], config["eos_token_id"]) == (4, 1, [2, 3])
    assert config["bos_token_id"] is None
    assert (config["inner"], config["other"]) == ({"vocab_size": 4, "sep_token_id": 2}, {"vocab_size": 12})
    decoder = config_of(folder, "tokenizer_config.json")["added_tokens_decoder"]
    assert decoder == {"1": {"content": "[PAD]"}, "3": {"content": "[X]"}}
    assert not (folder / "vocab.txt").exists()


def test_a_pad_id_from_which_positions_are_counted_must_not_change(tmp_path: Path) -> None:
    RobertaModel(RobertaConfig(vocab_size=40, max_position_embeddings=20, pad_token_id=1, **SIZES)).save_pretrained(
        tmp_path
    )
    encoder = load_encoder(tmp_path, None)
    with pytest.raises(CheckpointUnsupported, match="positions are counted from the pad id 1, which would change"):
        trim_model(tmp_path, encoder, TokenIds((1, 2, 3)))
    trim_model(tmp_path, encoder, TokenIds((0, 1, 3)))
    assert config_of(tmp_path)["pad_token_id"] == 1


def test_missing_rows_and_a_missing_table_are_refused(folder: Path) -> None:
    encoder = load_encoder(folder, None)
    with pytest.raises(CheckpointDamaged, match="has token ids up to 40, but its embedding table only 40 rows"):
        trim_model(folder, encoder, TokenIds((2, 40)))
    edit_weights(folder, lambda weights: weights.pop(TABLE))
    with pytest.raises(CheckpointUnsupported, match=rf"its weights hold no {TABLE}"):
        trim_model(folder, encoder, TokenIds((2, 3)))
