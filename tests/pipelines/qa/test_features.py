from pathlib import Path

import numpy as np
import pytest

from pipelines.qa.data import Example, load
from pipelines.qa.features import LabelledWindows, label
from pipelines.qa.from_scratch import window_maker
from pipelines.qa.windows import WindowSettings
from pipelines.wordpiece import train_wordpiece
from tests.pipelines.qa.rows import article, write_korquad

SETTINGS = WindowSettings(max_seq_length=32, max_query_length=16, max_answer_length=8, doc_stride=8)


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    return load(write_korquad(tmp_path, [article(number) for number in range(4)]))[0]


@pytest.fixture
def labelled(examples: list[Example]) -> LabelledWindows:
    texts = [text for example in examples for text in (example.question, example.context)]
    return label(examples, window_maker(train_wordpiece(texts, 120, None), SETTINGS))


def test_labels_lead_back_to_the_answer(labelled: LabelledWindows, examples: list[Example]) -> None:
    windows = labelled.windows
    assert windows.tokens.regions is not None
    answered = np.flatnonzero(labelled.starts)
    assert set(windows.request[answered]) == set(range(len(examples)))
    for number in answered:
        shift = windows.first[number] - windows.tokens.regions[number, 0]
        example = examples[windows.request[number]]
        start = windows.offsets[labelled.starts[number] + shift, 0]
        end = windows.offsets[labelled.ends[number] + shift, 1]
        assert example.context[start:end] == example.answer


def test_some_windows_miss_the_answer_and_point_at_the_first_token(labelled: LabelledWindows) -> None:
    assert (labelled.starts == 0).any()
    assert ((labelled.starts == 0) == (labelled.ends == 0)).all()


def test_without_random_windows_all_draws_hold_an_answer(labelled: LabelledWindows) -> None:
    draw = np.random.default_rng(0)
    assert (labelled.starts[labelled.draw(64, 0.0, draw)] > 0).all()
    assert (labelled.starts[labelled.draw(64, 1.0, draw)] == 0).any()
