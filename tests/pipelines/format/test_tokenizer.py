import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE, Unigram
from tokenizers.normalizers import NFC, Sequence
from transformers import AutoTokenizer

from pipelines.errors import CheckpointDamaged, CheckpointUnsupported
from pipelines.format.manifest import Manifest, Prompts, Role, read_manifest
from pipelines.format.tokenizer import TextTokenizer
from pipelines.format.windows import WindowOverrides
from pipelines.qa.window_tokenizer import WindowTokenizer
from pipelines.text.normalization import nfc
from pipelines.text.token_batch import TokenBatch
from tests.checkpoint_factory import MAX_TOKENS
from tests.conftest import MakeCheckpoint

TEXTS = ["오늘 과제는 코딩 과제입니다.", "", "The museum is in Busan.", "각낱말 ABC abc", "value 값 👩\u200d👧 ?"]
PROMPTS = Prompts(symmetric="the ", query="museum ", document="\u1100")


def load(folder: Path, **changes: object) -> TextTokenizer:
    return TextTokenizer.load(folder, read_manifest(folder).model_copy(update=changes))


def ids(batch: TokenBatch) -> list[list[int]]:
    return [part.tolist() for part in np.split(batch.ids, batch.starts[1:-1])]


def types(batch: TokenBatch) -> list[list[int]]:
    return [part.tolist() for part in np.split(batch.types, batch.starts[1:-1])]


@pytest.mark.parametrize("kind", ["classifier", "classifier-distilbert"])
def test_passages_are_the_tokens_of_transformers(imported: MakeCheckpoint, kind: str) -> None:
    folder = imported(kind)
    theirs = AutoTokenizer.from_pretrained(folder)(TEXTS, truncation=True, return_token_type_ids=True)
    ours = load(folder).passages(TEXTS)
    assert ids(ours) == theirs["input_ids"]
    assert types(ours) == theirs["token_type_ids"]
    assert ours.checkpoint == read_manifest(folder).ref


def test_pairs_for_a_cross_encoder_are_the_tokens_of_transformers(imported: MakeCheckpoint) -> None:
    folder = imported("cross-encoder")
    pairs = [*zip(TEXTS, reversed(TEXTS), strict=True), ("가 " * 200, "나 " * 40), ("a", "b " * 300)]
    theirs = AutoTokenizer.from_pretrained(folder)([list(pair) for pair in pairs], truncation=True)
    ours = load(folder).sentence_pairs(pairs)
    assert ids(ours.tokens) == theirs["input_ids"]
    assert types(ours.tokens) == theirs["token_type_ids"]
    assert ours.truncated == [False] * len(TEXTS) + [True, True]


def test_the_prompt_of_the_role_is_put_before_each_text(imported: MakeCheckpoint) -> None:
    plain, prompted = load(imported("bi-encoder")), load(imported("bi-encoder"), prompts=PROMPTS)
    roles: list[tuple[Role, str]] = [("symmetric", "the "), ("query", "museum "), ("document", "\u1100")]
    for role, prompt in roles:
        assert ids(prompted.passages(TEXTS, role)) == ids(plain.passages([prompt + text for text in TEXTS]))
    pairs = prompted.sentence_pairs([("가", "나"), ("나", "나")])
    assert ids(pairs.tokens) == ids(plain.passages(["the 가", "the 나"]))
    assert pairs.rows.tolist() == [[0, 1], [1, 1]]


def test_prompt_and_text_are_normalized_together(imported: MakeCheckpoint) -> None:
    plain, prompted = load(imported("bi-encoder")), load(imported("bi-encoder"), prompts=PROMPTS)
    assert ids(prompted.passages(["\u1161\u11a8"], "document")) == ids(plain.passages(["각"]))


def test_a_prompt_counts_towards_the_token_limit(imported: MakeCheckpoint) -> None:
    texts = ["a " * (MAX_TOKENS - 2), "a " * (MAX_TOKENS - 3)]
    assert load(imported("bi-encoder")).passages(texts).truncated.tolist() == [False, False]
    prompted = load(imported("bi-encoder"), prompts=PROMPTS)
    assert prompted.passages(texts).truncated.tolist() == [True, False]
    assert prompted.sentence_pairs([(text, text) for text in texts]).truncated == [True, False]


def test_text_over_the_limit_is_cut_and_flagged(imported: MakeCheckpoint) -> None:
    exact, over = "a " * (MAX_TOKENS - 2), "a " * (MAX_TOKENS - 1)
    batch = load(imported("classifier")).passages([exact, over, "a"])
    assert batch.lengths.tolist() == [MAX_TOKENS, MAX_TOKENS, 3]
    assert batch.truncated.tolist() == [False, True, False]


def test_without_a_limit_nothing_is_cut(imported: MakeCheckpoint) -> None:
    pairs = load(imported("static")).sentence_pairs([("a " * 1000, "b")])
    assert pairs.tokens.lengths.tolist() == [1000, 1]
    assert pairs.truncated == [False]


def test_a_static_model_gets_no_special_tokens(imported: MakeCheckpoint) -> None:
    folder = imported("static")
    theirs = AutoTokenizer.from_pretrained(folder)(TEXTS, add_special_tokens=False)["input_ids"]
    ours = load(folder).sentence_pairs([(text, text) for text in TEXTS])
    assert ids(ours.tokens) == theirs
    assert ours.tokens.lengths[1] == 0


@pytest.mark.parametrize("kind", ["classifier", "static", "cross-encoder"])
def test_decomposed_text_gives_the_tokens_of_composed_text(imported: MakeCheckpoint, kind: str) -> None:
    tokenizer = load(imported(kind))
    decomposed = [unicodedata.normalize("NFD", text) for text in TEXTS]
    assert decomposed != TEXTS
    assert ids(tokenizer.passages(decomposed)) == ids(tokenizer.passages(TEXTS))
    pairs = tokenizer.sentence_pairs(list(zip(TEXTS, decomposed, strict=True)))
    assert (pairs.rows[:, 0] == pairs.rows[:, 1]).all()
    assert len(pairs.tokens) == len(TEXTS)


def with_nfc(folder: Path, to: Path, *added: str) -> Path:
    """A copy of the checkpoint whose tokenizer has a leading NFC step and additional tokens."""
    folder = copy(folder, to)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = Sequence([NFC(), tokenizer.normalizer] if tokenizer.normalizer else [NFC()])
    tokenizer.add_tokens([AddedToken(token, normalized=True) for token in added])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@given(text=st.text() | st.sampled_from(TEXTS).map(lambda text: unicodedata.normalize("NFD", text)))
def test_the_nfc_of_tokenizers_does_not_change_text_in_nfc(text: str) -> None:
    assert NFC().normalize_str(nfc(text)) == nfc(text)


def test_the_tokenizer_does_not_normalize_a_second_time(imported: MakeCheckpoint, tmp_path: Path) -> None:
    folder = with_nfc(imported("classifier"), tmp_path)
    ours, plain = load(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert "NFC" in str(plain.normalizer)
    assert "NFC" not in str(ours.tokenizer.normalizer)
    decomposed = [unicodedata.normalize("NFD", text) for text in TEXTS]
    assert ids(ours.passages(decomposed)) == [encoding.ids for encoding in plain.encode_batch(decomposed)]


def test_an_added_token_that_is_not_in_nfc_is_still_found(imported: MakeCheckpoint, tmp_path: Path) -> None:
    added = unicodedata.normalize("NFD", "뷁뷁")
    folder = with_nfc(imported("classifier"), tmp_path, added)
    number = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id(added)
    assert number in ids(load(folder).passages(["가 뷁뷁 나"]))[0]


def test_repeated_sentences_are_one_item(imported: MakeCheckpoint) -> None:
    pairs = load(imported("bi-encoder")).sentence_pairs([("가", "나"), ("나", "가"), ("가", "가"), ("a", "나")])
    assert len(pairs.tokens) == 3
    assert pairs.rows.tolist() == [[0, 1], [1, 0], [0, 0], [2, 1]]


def test_repeated_pairs_are_one_item_of_a_cross_encoder(imported: MakeCheckpoint) -> None:
    pairs = load(imported("cross-encoder")).sentence_pairs([("가", "나"), ("나", "가"), ("가", "나")])
    assert len(pairs.tokens) == 2
    assert pairs.rows.tolist() == [[0, 0], [1, 1], [0, 0]]


def test_a_pair_is_truncated_if_either_sentence_is(imported: MakeCheckpoint) -> None:
    long = "가 " * MAX_TOKENS
    pairs = load(imported("bi-encoder")).sentence_pairs([("a", "b"), ("a", long), (long, "b"), (long, long)])
    assert pairs.truncated == [False, True, True, True]


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder"])
def test_no_pairs_give_no_items(imported: MakeCheckpoint, kind: str) -> None:
    pairs = load(imported(kind)).sentence_pairs([])
    assert len(pairs.tokens) == 0
    assert pairs.rows.shape == (0, 2)
    assert pairs.truncated == []


def test_truncation_set_in_the_tokenizer_file_is_ignored(imported: MakeCheckpoint, tmp_path: Path) -> None:
    folder = copy(imported("static"), tmp_path)
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    content["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert load(folder).passages(["a b c d e f"]).lengths.tolist() == [6]


@pytest.mark.parametrize("content", [None, "", "{}", "not json"])
def test_a_file_that_is_not_a_tokenizer_is_named(imported: MakeCheckpoint, tmp_path: Path, content: str | None) -> None:
    folder = copy(imported("classifier"), tmp_path)
    (folder / "tokenizer.json").unlink()
    if content is not None:
        (folder / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointDamaged, match=r"tokenizer\.json"):
        load(folder)


def test_a_model_too_short_for_the_windows_is_refused(imported: MakeCheckpoint) -> None:
    folder = imported("extractor")
    manifest: Manifest = read_manifest(folder)
    WindowTokenizer.load(folder, manifest, WindowOverrides(max_seq_length=MAX_TOKENS))
    with pytest.raises(CheckpointUnsupported, match=f"reads {MAX_TOKENS} tokens"):
        WindowTokenizer.load(folder, manifest, WindowOverrides(max_seq_length=MAX_TOKENS + 1))


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def test_the_sampling_of_a_training_tokenizer_is_off(imported: MakeCheckpoint) -> None:
    manifest = read_manifest(imported("static"))
    dropping = BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")], dropout=0.9)
    sampling = Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.0), ("ab", -1.5)], unk_id=0)
    sampling.alpha, sampling.nbest_size = 0.1, 4
    for model, whole in ((dropping, 2), (sampling, 3)):
        assert ids(TextTokenizer(Tokenizer(model), manifest).passages(["ab"] * 30)) == [[whole]] * 30
