import numpy as np
import pytest

from pipelines.sts.data import Pool, ScoredPair, ScoredPool
from pipelines.sts.sentences import Batch, Sentences, index_sentences
from pipelines.wordpiece import train_wordpiece

PAIRS = [("서울 날씨 알려줘", "서울의 날씨는?"), ("표를 예매해줘", "예매 부탁해"), ("불을 꺼줘", "전등 꺼")]
SCORED = [ScoredPair("불을 꺼줘", "문을 닫아줘", 1), ScoredPair("표를 예매해줘", "예매 부탁해", 5)]


@pytest.fixture(scope="module")
def sentences() -> Sentences:
    tokenizer = train_wordpiece([text for pair in PAIRS for text in pair], 80, None)
    pools = [Pool("hand-made", 2, PAIRS), Pool("empty", 1, [])]
    scored_pools = [ScoredPool("empty", 1, []), ScoredPool("hand-made", 2, SCORED)]
    return index_sentences(pools, scored_pools, tokenizer, negatives=2)


@pytest.fixture(scope="module")
def batch(sentences: Sentences) -> Batch:
    return sentences.draw(20, 30, np.random.default_rng(0))


def test_drawn_partners_mean_the_same(sentences: Sentences, batch: Batch) -> None:
    assert batch.partners.shape == (20, 2)
    assert (sentences.groups[batch.partners[:, 0]] == sentences.groups[batch.partners[:, 1]]).all()
    assert (batch.partners[:, 0] != batch.partners[:, 1]).all()


def test_both_partners_come_first_at_times(batch: Batch) -> None:
    assert set(np.sign(batch.partners[:, 0] - batch.partners[:, 1]).tolist()) == {-1, 1}


def test_scored_pairs_are_drawn_with_their_scores(batch: Batch) -> None:
    expected = {(4, 6): 0.2, (2, 3): 1.0}  # the sentence without a partner is numbered last
    drawn = {tuple(pair): score for pair, score in zip(batch.scored.tolist(), batch.scores.tolist(), strict=True)}
    assert drawn == pytest.approx(expected)


def test_negatives_are_of_other_groups_than_their_sentence(sentences: Sentences) -> None:
    assert len(sentences.negatives) == 6
    for sentence, negatives in enumerate(sentences.negatives):
        found = negatives[negatives >= 0]
        assert (sentences.groups[found] != sentences.groups[sentence]).all()


def test_a_batch_lists_its_sentences_part_by_part() -> None:
    batch = Batch(np.array([[0, 1], [2, 3]]), np.array([4]), np.array([[5, 6]]), np.array([0.5], dtype=np.float32))
    assert batch.contrasted.tolist() == [0, 2, 1, 3, 4]
    assert batch.sentences.tolist() == [0, 2, 1, 3, 4, 5, 6]


def test_bags_hold_the_chosen_sentences(sentences: Sentences) -> None:
    ids, offsets = sentences.bags(np.array([4, 1]), 0.0, np.random.default_rng(0))
    parts = [sentences.ids[sentences.starts[i] : sentences.starts[i + 1]].tolist() for i in (4, 1)]
    assert ids.tolist() == parts[0] + parts[1]
    assert offsets.tolist() == [0, len(parts[0])]


def test_dropout_never_empties_a_bag(sentences: Sentences) -> None:
    ids, offsets = sentences.bags(np.arange(6), 1.0, np.random.default_rng(0))
    assert offsets.tolist() == list(range(6))
    assert ids.tolist() == sentences.ids[sentences.starts[:6]].tolist()
