from pathlib import Path

import pytest

from pipelines.sts.data import ScoredPair, StsData, key, load, sentences_of, split_klue
from tests.pipelines.sts.rows import KLUE_DEV, KLUE_TRAIN, PARAPHRASE_SETS, write_all


@pytest.fixture
def loaded(tmp_path: Path) -> StsData:
    return load(write_all(tmp_path), held_out_share=0.5, seed=0)


def _trained_on(loaded: StsData) -> set[str]:
    partners = {key(text) for pool in loaded.pools for pair in pool.pairs for text in pair}
    return partners.union(*(sentences_of(pool.pairs) for pool in loaded.scored_pools))


def test_no_dev_or_held_out_sentence_is_trained_on(loaded: StsData) -> None:
    assert loaded.held_out
    for pairs in (loaded.klue_dev, loaded.korsts_dev, loaded.held_out):
        assert not _trained_on(loaded) & sentences_of(pairs)


def test_paraphrase_sets_with_a_dev_sentence_are_left_out_whole(loaded: StsData) -> None:
    assert key(KLUE_DEV[0][0]) == key(PARAPHRASE_SETS[0][0])
    assert not _trained_on(loaded) & set(map(key, PARAPHRASE_SETS[0]))


def test_pools_hold_only_pairs_of_equal_meaning(loaded: StsData) -> None:
    pools = {pool.name: pool.pairs for pool in loaded.pools}
    scores = {(a, b): score for a, b, score in KLUE_TRAIN}
    assert all(scores[pair] >= 3 for pair in pools["klue"])
    assert pools["korsts"] == [("비행기가 이륙하고 있다.", "비행기가 막 이륙한다.")]
    assert pools["questions"] == [("헤어졌어", "이별했어")]
    assert set(pools["entailments"]) == {("방이 넓다.", "방은 좁지 않다."), ("그는 달렸다.", "그는 움직였다.")}
    set_of = {sentence: number for number, group in enumerate(PARAPHRASE_SETS) for sentence in group}
    assert all(set_of[a] == set_of[b] for a, b in pools["parakqc"])


def test_scored_pools_hold_pairs_of_every_score(loaded: StsData) -> None:
    pools = {pool.name: pool.pairs for pool in loaded.scored_pools}
    assert {pair.same for pair in pools["klue"]} == {True, False}
    assert pools["korsts"] == [
        ScoredPair("비행기가 이륙하고 있다.", "비행기가 막 이륙한다.", 4.6),
        ScoredPair("남자가 걷는다.", "여자가 노래한다.", 0.8),
    ]


def test_the_split_keeps_every_pair_once_and_sets_whole() -> None:
    pairs = [ScoredPair(*row) for row in KLUE_TRAIN]
    train, held_out = split_klue(pairs, PARAPHRASE_SETS, share=0.5, seed=3)
    assert train
    assert held_out
    assert sorted(train + held_out, key=repr) == sorted(pairs, key=repr)


def test_the_same_seed_splits_the_same_way() -> None:
    pairs = [ScoredPair(*row) for row in KLUE_TRAIN]
    assert split_klue(pairs, PARAPHRASE_SETS, 0.5, 1) == split_klue(pairs, PARAPHRASE_SETS, 0.5, 1)


def test_klue_calls_pairs_from_3_the_same() -> None:
    assert ScoredPair("가", "나", 3.0).same
    assert not ScoredPair("가", "나", 2.99).same


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="klue-sts"):
        load(tmp_path, 0.1, seed=0)
