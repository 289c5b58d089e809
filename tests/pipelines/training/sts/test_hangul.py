from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from pipelines.training.sts.hangul import hangul_only
from tests.conftest import MakeCheckpoint

MIXED = st.text(st.sampled_from("가각말값ㄱㅏaZ9 .,!é日\u1100\u1161"))


@pytest.fixture(scope="module", params=["bare-encoder", "extractor-roberta"])
def tokenizer(request: pytest.FixtureRequest, checkpoint: MakeCheckpoint) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(checkpoint(request.param), local_files_only=True)


def test_other_characters_are_replaced_by_a_space(tokenizer: PreTrainedTokenizerBase) -> None:
    stripped = hangul_only(tokenizer)
    assert stripped("1) 오늘 the과제!", "日과제ㅋ")["input_ids"] == tokenizer("오늘 과제", "과제ㅋ")["input_ids"]
    assert stripped("ABC, 12.")["input_ids"] == tokenizer("")["input_ids"]


@given(text=MIXED)
def test_text_of_hangul_only_is_not_changed(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    stripped = hangul_only(tokenizer)
    kept = stripped.backend_tokenizer.normalizer.normalize_str(text)
    assert stripped(kept)["input_ids"] == stripped(text)["input_ids"] == tokenizer(kept)["input_ids"]
    assert not any(letter.isascii() and letter != " " for letter in kept)


def test_the_step_is_saved_and_loaded_by_transformers(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    stripped = hangul_only(tokenizer)
    stripped.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert loaded("오늘 the 과제")["input_ids"] == stripped("오늘 the 과제")["input_ids"]
    assert (loaded.pad_token, loaded.model_max_length) == (tokenizer.pad_token, tokenizer.model_max_length)
