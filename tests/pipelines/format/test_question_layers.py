import pytest
import torch

from pipelines.format.question_layers import QuestionAttention, same_tokens

IDS = torch.tensor([[7, 8, 9, 8, 5, 5], [4, 6, 4, 9, 6, 0]])
QUESTION = torch.tensor([[True, True, True, False, False, False], [True, True, False, False, False, False]])


@pytest.fixture
def attention() -> QuestionAttention:
    torch.manual_seed(0)
    return QuestionAttention(hidden_size=8, heads=2, dropout=0.0).eval()


@torch.no_grad()
def test_only_the_question_is_attended_to(attention: QuestionAttention) -> None:
    hidden = torch.randn(2, 6, 8)
    changed = hidden.clone()
    changed[0, 4] += 1  # context
    same = same_tokens(IDS)
    before, after = (attention(values, QUESTION, same) for values in (hidden, changed))
    assert torch.equal(before[:, [0, 1, 2, 3, 5]], after[:, [0, 1, 2, 3, 5]])
    changed[0, 2] += 1
    assert not torch.equal(attention(changed, QUESTION, same)[0, 5], before[0, 5])


@torch.no_grad()
def test_a_head_that_is_sure_takes_the_same_token(attention: QuestionAttention) -> None:
    attention.same.fill_(1e4)
    hidden = torch.randn(2, 6, 8)
    other = hidden.clone()
    other[0, [0, 2]] += 1  # the question's other tokens
    before, after = (attention(values, QUESTION, same_tokens(IDS))[0, 3] for values in (hidden, other))
    torch.testing.assert_close(before, after)


@torch.no_grad()
def test_keys_beyond_the_question_make_no_difference(
    attention: QuestionAttention, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = torch.randn(2, 6, 8)
    cut = attention(hidden, QUESTION, same_tokens(IDS))
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    torch.testing.assert_close(attention(hidden, QUESTION, same_tokens(IDS)), cut)


def test_heads_that_do_not_divide_the_size_are_refused() -> None:
    with pytest.raises(ValueError, match="3 heads"):
        QuestionAttention(hidden_size=8, heads=3, dropout=0.0)
