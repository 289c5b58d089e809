from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.qa.data import load
from pipelines.qa.features import LabelledWindows, label
from pipelines.qa.from_scratch import window_maker
from pipelines.qa.mixture import Disguise, Mixture, rare_tokens
from pipelines.qa.windows import WindowSettings
from pipelines.wordpiece import train_wordpiece
from tests.pipelines.qa.rows import article, write_korquad

MASK = 4
DISGUISE = Disguise(hidden=0.0, exchanged=1.0, rare=np.arange(10, 20), mask_id=MASK, vocab_size=30)


@pytest.fixture
def sources(tmp_path: Path) -> list[LabelledWindows]:
    examples = load(write_korquad(tmp_path, [article(number) for number in range(6)]))[0]
    texts = [text for example in examples for text in (example.question, example.context)]
    make = window_maker(train_wordpiece(texts, 150, None), WindowSettings())
    return [label(examples[:3], make), label(examples[3:], make)]


def test_shares_move_from_the_first_to_the_last(sources: list[LabelledWindows]) -> None:
    mixture = Mixture(sources, (1, 0), (0, 1), random_windows=0.0, pad_id=0)
    first, last = (mixture.draw(20, progress, np.random.default_rng(0)) for progress in (0.0, 1.0))
    for batch, source in ((first, sources[0]), (last, sources[1])):
        known = {row.tobytes() for row in np.split(source.windows.tokens.ids, np.cumsum(source.windows.tokens.lengths))}
        rows = [
            ids[mask].numpy().astype(np.int32) for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
        ]
        assert {row.tobytes() for row in rows} <= known


def test_a_batch_of_several_sources_keeps_labels_and_windows_together(sources: list[LabelledWindows]) -> None:
    batch = Mixture(sources, (1, 1), (1, 1), random_windows=0.0, pad_id=0).draw(16, 0.5, np.random.default_rng(1))
    labels = {}
    for source in sources:
        cuts = np.split(source.windows.tokens.ids, np.cumsum(source.windows.tokens.lengths)[:-1])
        labels |= {ids.tobytes(): (s, e) for ids, s, e in zip(cuts, source.starts, source.ends, strict=True)}
    for number, mask in enumerate(batch.attention_mask):
        ids = batch.input_ids[number][mask].numpy().astype(np.int32)
        assert labels[ids.tobytes()] == (batch.start_positions[number], batch.end_positions[number])


def test_exchanged_tokens_keep_what_is_the_same_the_same() -> None:
    ids = torch.tensor([[2, 12, 15, 3, 25, 12, 3], [2, 15, 9, 3, 12, 0, 0]])
    other = DISGUISE(ids, np.random.default_rng(0))
    assert ((other[..., None] == other.flatten()) == (ids[..., None] == ids.flatten())).all()
    rare = (ids >= 10) & (ids < 20)
    assert (other != ids)[rare].all()
    assert torch.equal(other[~rare], ids[~rare])


def test_special_tokens_are_never_hidden() -> None:
    hiding = Disguise(hidden=1.0, exchanged=0.0, rare=DISGUISE.rare, mask_id=MASK, vocab_size=30)
    ids = torch.tensor([[2, 12, 3, 25, 3, 0]])
    assert hiding(ids, np.random.default_rng(0)).tolist() == [[2, MASK, 3, MASK, 3, 0]]


def test_rare_tokens_leave_out_special_and_common_ones(sources: list[LabelledWindows]) -> None:
    ids = sources[0].windows.tokens.ids
    rare = rare_tokens(sources[0], common=20, mask_id=MASK, vocab_size=150)
    assert len(np.unique(rare)) == len(rare)
    assert rare.min() > MASK
    common = np.setdiff1d(np.arange(MASK + 1, 150), rare)
    counts = np.bincount(ids, minlength=150)
    assert counts[rare].max() <= counts[common].min()
