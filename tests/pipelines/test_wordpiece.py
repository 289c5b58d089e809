import unicodedata
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pipelines.wordpiece import train_vocabulary, train_wordpiece

TEXTS = [
    "오늘 서울 날씨가 맑다.",
    "내일 서울 날씨는 흐리다.",
    "The café in Seoul is open today.",
    "서울의 카페는 오늘 문을 연다.",
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_wordpiece(TEXTS, vocab_size=200, max_tokens=12)


def test_decomposed_hangul_gives_the_same_ids(tokenizer: PreTrainedTokenizerFast) -> None:
    decomposed = unicodedata.normalize("NFD", TEXTS[0])
    assert decomposed != TEXTS[0]
    assert tokenizer(decomposed)["input_ids"] == tokenizer(TEXTS[0])["input_ids"]


def test_case_is_folded_and_accents_stay(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.decode(tokenizer("CAFÉ")["input_ids"], skip_special_tokens=True) == "café"


def test_pairs_are_laid_out_as_in_bert(tokenizer: PreTrainedTokenizerFast) -> None:
    pair = tokenizer("서울", "오늘")
    assert tokenizer.decode(pair["input_ids"]) == "[CLS] 서울 [SEP] 오늘 [SEP]"
    assert sorted(pair["token_type_ids"]) == pair["token_type_ids"]
    assert pair["token_type_ids"][-1] == 1


def test_longer_texts_are_cut_on_demand(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer(" ".join(TEXTS), truncation=True)["input_ids"]) == 12
    assert len(tokenizer(" ".join(TEXTS))["input_ids"]) > 12


def test_the_same_texts_give_the_same_vocabulary() -> None:
    first = train_vocabulary(TEXTS, 60)
    assert len(first) == 60
    assert all(train_vocabulary(reversed(TEXTS), 60) == first for _ in range(3))


def test_special_tokens_come_first_and_are_the_only_special_ones(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.convert_tokens_to_ids(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]) == [0, 1, 2, 3, 4]
    assert len(tokenizer.all_special_ids) == 5
    assert tokenizer.backend_tokenizer.get_added_tokens_decoder().keys() == {0, 1, 2, 3, 4}


def test_a_saved_tokenizer_loads_by_its_auto_class(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]
    assert loaded.model_max_length == 12


def test_a_particle_split_off_leaves_the_noun_to_end_with_a_token() -> None:
    whole, split = (train_wordpiece(TEXTS, 200, None, split_particles=on) for on in (False, True))
    text = "서울은 카페는 은 날씨의"
    ends = [{end for _, end in made(text, return_offsets_mapping=True)["offset_mapping"]} for made in (whole, split)]
    nouns = {text.index(noun) + len(noun) for noun in ("서울", "카페", "날씨")}
    assert nouns <= ends[1]
    assert split.tokenize("서울의") == ["서울", "의"]  # the particle is a word, no continuation of one
