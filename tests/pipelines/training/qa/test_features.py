from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.format.windows import WindowSettings
from pipelines.qa.data import Example, read_squad
from pipelines.qa.windows import WindowMaker
from pipelines.training.qa.features import LabelledWindows, label
from tests.conftest import MakeCheckpoint
from tests.pipelines.qa.rows import article, write_squad
from tests.pipelines.qa.test_windows import KINDS, maker

SETTINGS = WindowSettings(max_seq_length=32, max_query_length=16, max_answer_length=8, doc_stride=8)


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    articles = read_squad(write_squad(tmp_path / "squad.json", [article(number) for number in range(4)]))
    return [example for examples in articles for example in examples]


@pytest.fixture
def labelled(examples: list[Example], imported: MakeCheckpoint) -> LabelledWindows:
    return label(examples, maker(imported("extractor"), SETTINGS))


def test_labels_are_the_positions_of_the_answer(labelled: LabelledWindows, examples: list[Example]) -> None:
    answered = np.flatnonzero(labelled.starts).tolist()
    assert set(labelled.windows.request[answered]) == set(range(len(examples)))
    for number in answered:
        example = examples[labelled.windows.request[number]]
        assert characters(labelled, number) == (example.start, example.end)


@pytest.fixture(scope="module", params=KINDS)
def make(request: pytest.FixtureRequest, imported: MakeCheckpoint) -> WindowMaker:
    return maker(imported(request.param), SETTINGS)


words = st.sampled_from(["과제는", "museum", "the", "Busan.", "각", "e\u0301", "\u200b", "\x00", "\n", "１"])


@given(st.data(), st.lists(words, min_size=1, max_size=40).map(" ".join).filter(str.strip))
def test_labels_of_any_answer_are_the_positions_of_its_characters(
    make: WindowMaker, data: st.DataObject, context: str
) -> None:
    """The labelled tokens are all that overlap the answer. If it is not too long, some window has all of them."""
    start = data.draw(st.sampled_from([at for at, letter in enumerate(context) if not letter.isspace()]))
    end = data.draw(st.sampled_from([at for at in range(start + 1, len(context) + 1) if not context[at - 1].isspace()]))
    labelled = label([Example("", "museum", context, start, end)], make)
    tokens = [(low, high) for low, high in labelled.windows.offsets.tolist() if low < end and high > start]
    spans = {characters(labelled, number) for number in np.flatnonzero(labelled.starts).tolist()}
    if not tokens:  # the tokenizer drops control characters
        assert not spans
    else:
        assert spans <= {(tokens[0][0], tokens[-1][1])}
        assert spans or len(tokens) > SETTINGS.max_answer_length


def characters(labelled: LabelledWindows, number: int) -> tuple[int, int]:
    """The characters of the context, as (start, end), that the label of a window denotes."""
    windows = labelled.windows
    assert windows.tokens.regions is not None
    shift = windows.first[number] - windows.tokens.regions[number, 0]
    first, last = labelled.starts[number] + shift, labelled.ends[number] + shift
    return int(windows.offsets[first, 0]), int(windows.offsets[last, 1])


def test_windows_without_the_answer_are_labelled_with_the_first_token(labelled: LabelledWindows) -> None:
    assert (labelled.starts == 0).any()
    assert ((labelled.starts == 0) == (labelled.ends == 0)).all()
