import numpy as np

from pipelines.sts.negatives import hard_negatives, same_meaning_groups

SENTENCES = ["서울 날씨 알려줘", "서울의 날씨를 알려줘", "서울 지도 보여줘", "부산 날씨 말해줘", "고양이가 잔다"]


def test_linked_sentences_share_a_group() -> None:
    groups = same_meaning_groups(5, np.array([[0, 1], [1, 3]]))
    assert groups[0] == groups[1] == groups[3]
    assert len(set(groups.tolist())) == 3


def test_negatives_look_alike_but_mean_something_else() -> None:
    groups = same_meaning_groups(5, np.array([[0, 1]]))
    found = hard_negatives(SENTENCES, groups, count=2)
    assert found.shape == (5, 2)
    assert set(found[0].tolist()) <= {2, 3}
    assert found[0, 0] in {2, 3}
    assert not np.isin(found[1], [0, 1]).any()


def test_missing_negatives_are_minus_1() -> None:
    found = hard_negatives(SENTENCES, same_meaning_groups(5, np.array([[0, 1]])), count=2)
    assert found[4].tolist() == [-1, -1]
