import pickle
import unicodedata
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from pipelines.format.windows import WindowSettings
from pipelines.qa.windows import PairTemplate, WindowMaker, Windows, window_starts
from pipelines.text.normalization import nfc
from pipelines.text.token_batch import CheckpointRef
from tests.conftest import MakeCheckpoint

REF = CheckpointRef("digest", "extractor", None)
KINDS = ["extractor", "extractor-roberta"]
SMALL = WindowSettings(max_seq_length=24, max_query_length=6, max_answer_length=5, doc_stride=7)

words = st.sampled_from(["과제는", "museum", "각", "값", "é", "👩\u200d👧", "\r\n", "\n", "  ", "１", "ABC", "한글,"])
texts = st.lists(words | st.text(max_size=4), max_size=25).map(" ".join)
settings_of_any_kind = st.builds(
    lambda query, answer, room, stride: WindowSettings(
        max_seq_length=max(16, query + answer + 4 + room),
        max_query_length=query,
        max_answer_length=answer,
        doc_stride=stride,
    ),
    st.integers(1, 8),
    st.integers(1, 9),
    st.integers(0, 12),
    st.integers(1, 30),
)


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, imported: MakeCheckpoint) -> Path:
    return imported(request.param)


def tokenizer(folder: Path) -> Tokenizer:
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.no_truncation()
    made.no_padding()
    return made


@cache
def theirs(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def maker(folder: Path, settings: WindowSettings = SMALL) -> WindowMaker:
    return WindowMaker(tokenizer(folder), settings)


def spans(windows: Windows) -> list[range]:
    """The range of rows of `offsets` of each window."""
    assert windows.tokens.regions is not None
    sizes = windows.tokens.regions[:, 1] - windows.tokens.regions[:, 0]
    return [range(first, first + size) for first, size in zip(windows.first, sizes, strict=True)]


def rows(windows: Windows) -> list[tuple[list[int], list[int]]]:
    edges = windows.tokens.starts[1:-1]
    ids, types = np.split(windows.tokens.ids, edges), np.split(windows.tokens.types, edges)
    return [(i.tolist(), t.tolist()) for i, t in zip(ids, types, strict=True)] if len(windows.tokens) else []


@given(tokens=st.integers(0, 200), settings=settings_of_any_kind, asked=st.integers(0, 8), special=st.integers(2, 4))
def test_windows_cover_the_context_and_hold_every_answer_whole(
    tokens: int, settings: WindowSettings, asked: int, special: int
) -> None:
    room = settings.max_seq_length - min(asked, settings.max_query_length) - special
    starts = list(window_starts(tokens, room, settings.stride(room)))
    windows = [range(start, min(start + room, tokens)) for start in starts]
    assert {token for window in windows for token in window} == set(range(tokens))
    longest = min(settings.max_answer_length, tokens)
    for start in range(tokens - longest + 1 if tokens else 0):
        assert any(start in window and start + longest - 1 in window for window in windows)
    assert all(b - a <= settings.doc_stride for a, b in pairwise(starts))
    assert all(window.stop < tokens for window in windows[:-1])  # no superfluous window


@given(requests=st.lists(st.tuples(texts, texts), min_size=1, max_size=3), settings=settings_of_any_kind)
def test_windows_are_not_too_long_and_hold_question_and_context(
    imported: MakeCheckpoint, requests: list[tuple[str, str]], settings: WindowSettings
) -> None:
    for kind in KINDS:
        folder = imported(kind)
        make, plain = maker(folder, settings), tokenizer(folder)
        template = PairTemplate.of(plain)
        windows = make(requests, REF)
        assert windows.tokens.lengths.max(initial=0) <= settings.max_seq_length
        assert (np.diff(windows.request) >= 0).all()
        parts = list(zip(windows.request.tolist(), rows(windows), spans(windows), strict=True))
        bases = rows_of_contexts(plain, requests)
        for number, (question, context) in enumerate(requests):
            asked = plain.encode(nfc(question), add_special_tokens=False).ids
            read = plain.encode(nfc(context), add_special_tokens=False).ids
            base = bases[context]
            own = [(ids, held) for request, (ids, _), held in parts if request == number]
            assert {token for _, held in own for token in held} == set(range(base, base + len(read)))
            for ids, held in own:
                expected = [*template.head, *asked[: settings.max_query_length], *template.middle]
                expected += [read[token - base] for token in held]
                assert ids == [*expected, *template.tail]
            cut = len(asked) > settings.max_query_length
            assert set(windows.tokens.truncated[windows.request == number].tolist()) <= {cut}
        assert len(windows.offsets) == bases[""]


def rows_of_contexts(plain: Tokenizer, requests: list[tuple[str, str]]) -> dict[str, int]:
    """The row of `offsets` at which each context begins, and under "" the number of rows."""
    contexts = list(dict.fromkeys(context for _, context in requests if context))
    sizes = [len(plain.encode(nfc(context), add_special_tokens=False).ids) for context in contexts]
    return dict(zip([*contexts, ""], accumulate(sizes, initial=0), strict=True))


few_texts = st.sampled_from(
    ["", "the museum", "과제는 museum 한글,", unicodedata.normalize("NFD", "과제는 한글 " * 9), "ABC " * 40]
)


@given(
    requests=st.lists(st.tuples(few_texts, few_texts | texts), max_size=6),
    settings=settings_of_any_kind,
)
def test_requests_that_share_texts_have_the_same_windows_as_alone(
    imported: MakeCheckpoint, requests: list[tuple[str, str]], settings: WindowSettings
) -> None:
    for kind in KINDS:
        make = maker(imported(kind), settings)
        together, alone = make(requests, REF), [make([request], REF) for request in requests]
        assert rows(together) == [row for windows in alone for row in rows(windows)]
        assert together.request.tolist() == [i for i, windows in enumerate(alone) for _ in range(len(windows.tokens))]
        for name in ("lengths", "truncated", "regions"):
            expected = [value for windows in alone for value in getattr(windows.tokens, name).tolist()]
            assert getattr(together.tokens, name).tolist() == expected
        held = [windows.offsets[part].tolist() for windows in alone for part in map(list, spans(windows))]
        assert [together.offsets[part].tolist() for part in map(list, spans(together))] == held


def test_the_offsets_of_a_shared_context_are_stored_once(folder: Path) -> None:
    context = "The museum is in Busan. " * 5
    alone = maker(folder)([("who?", context)], REF)
    shared = maker(folder)([("who?", context), ("where is it?", context), ("who?", context)], REF)
    np.testing.assert_array_equal(shared.offsets, alone.offsets)
    assert [shared.first[shared.request == number][0] for number in range(3)] == [0, 0, 0]


@given(question=texts, context=texts)
def test_windows_are_those_of_transformers(imported: MakeCheckpoint, question: str, context: str) -> None:
    for kind in KINDS:
        folder = imported(kind)
        asked = tokenizer(folder).encode(nfc(question), add_special_tokens=False)
        read = tokenizer(folder).encode(nfc(context), add_special_tokens=False)
        if not read.ids or len(asked.ids) > SMALL.max_query_length:
            continue
        room = SMALL.max_seq_length - len(asked.ids) - PairTemplate.of(tokenizer(folder)).size
        encoded = theirs(folder)(
            nfc(question),
            nfc(context),
            truncation="only_second",
            max_length=SMALL.max_seq_length,
            stride=room - SMALL.stride(room),
            return_overflowing_tokens=True,
            return_token_type_ids=True,
        )
        ours = rows(maker(folder)([(question, context)], REF))
        assert [ids for ids, _ in ours] == encoded["input_ids"]
        assert [types for _, types in ours] == encoded["token_type_ids"]


@given(context=texts)
def test_offsets_span_the_text_of_their_token(imported: MakeCheckpoint, context: str) -> None:
    for kind in KINDS:
        plain = tokenizer(imported(kind))
        encoding = plain.encode(nfc(context), add_special_tokens=False)
        windows = maker(imported(kind))([("museum", context)], REF)
        texts_of_tokens = [nfc(context)[start:end] for start, end in encoding.offsets]
        for text, (start, end) in zip(texts_of_tokens, windows.offsets.tolist(), strict=True):
            assert text in nfc(context[start:end])


def test_a_long_question_is_cut_and_marked_as_truncated(folder: Path) -> None:
    windows = maker(folder)([("a b c d e f g h i", "the museum"), ("a", "the museum")], REF)
    template = PairTemplate.of(tokenizer(folder))
    assert windows.tokens.regions is not None
    assert windows.tokens.regions[0, 0] == len(template.head) + SMALL.max_query_length + len(template.middle)
    assert windows.tokens.truncated.tolist() == [True, False]


@pytest.mark.parametrize("context", ["", " ", " \n\t "])
def test_a_context_without_tokens_has_no_window(imported: MakeCheckpoint, context: str) -> None:
    windows = maker(imported("extractor"))([("who?", context), ("who?", "the museum"), ("who?", context)], REF)
    assert windows.request.tolist() == [1]
    nothing = maker(imported("extractor"))([("who?", context)], REF)
    assert len(nothing.tokens) == 0
    assert nothing.offsets.shape == (0, 2)
    assert nothing.tokens.regions is not None


def test_with_an_empty_question_the_context_fills_the_window(folder: Path) -> None:
    windows = maker(folder)([("", "a " * 60)], REF)
    assert windows.tokens.lengths[0] == SMALL.max_seq_length


def test_templates_are_derived_from_the_tokenizer(imported: MakeCheckpoint) -> None:
    bert, roberta = (PairTemplate.of(tokenizer(imported(kind))) for kind in KINDS)
    assert (bert.head, bert.middle, bert.tail) == ((2,), (3,), (3,))
    assert (bert.question_type, bert.context_type, bert.size) == (0, 1, 3)
    assert (roberta.head, roberta.middle, roberta.tail) == ((0,), (2, 2), (2,))
    assert (roberta.question_type, roberta.context_type, roberta.size) == (0, 0, 4)


def test_windows_survive_pickling(folder: Path) -> None:
    windows = maker(folder)([("the museum?", "The museum is in Busan. " * 5), ("who?", "")], REF)
    again = pickle.loads(pickle.dumps(windows))
    assert rows(again) == rows(windows)
    assert again.tokens.checkpoint == REF
    for name in ("request", "first", "offsets"):
        np.testing.assert_array_equal(getattr(again, name), getattr(windows, name))


@pytest.mark.parametrize(
    "settings",
    [
        {"max_seq_length": 60},
        {"max_seq_length": 15},
        {"max_answer_length": 0},
        {"doc_stride": 0},
        {"max_query_length": 0},
        {"stride": 64},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        WindowSettings(**settings)
