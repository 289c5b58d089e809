import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipelines.format.windows import WindowSettings
from pipelines.qa.spans import SPAN, Answer, best_spans, rank
from pipelines.qa.windows import WindowMaker, Windows
from pipelines.text.normalization import nfc
from pipelines.text.token_batch import CheckpointRef
from tests.conftest import MakeCheckpoint
from tests.pipelines.checkpoints.small_tokenizers import KINDS

REF = CheckpointRef("digest", "extractor", None)
SETTINGS = WindowSettings(max_seq_length=20, max_query_length=4, max_answer_length=6, doc_stride=5)
WIDTH = SETTINGS.max_answer_length

seeds = st.integers(0, 2**32 - 1)
pieces = st.sampled_from(
    [
        "도서관은",
        "museum",
        "각낱",
        "값",
        "é",
        "👩\u200d👩\u200d👧",
        "🇰🇷",
        "\u0301\u0323",
        "\r\n",
        "\n",
        "  ",
        "１",
        "\u3000",
        "끝.",
    ]
)
contexts = st.lists(pieces | st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=30).map(" ".join)


def make(folder: Path, requests: list[tuple[str, str]]) -> Windows:
    return WindowMaker(Tokenizer.from_file(str(folder / "tokenizer.json")), SETTINGS)(requests, REF)


def logits(windows: Windows, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random logits from few whole numbers, so that equal scores occur."""
    draw = np.random.default_rng(seed)
    shape = windows.tokens.mask.shape
    return draw.integers(-9, 9, shape).astype(np.float32), draw.integers(-9, 9, shape).astype(np.float32)


def search(windows: Windows, seed: int, count: int = 5) -> NDArray[np.void]:
    assert windows.tokens.regions is not None
    return best_spans(*logits(windows, seed), windows.tokens.regions, max_answer_length=WIDTH, count=count)


@given(seed=seeds, tokens=st.integers(1, 14), width=st.integers(1, 16), count=st.integers(1, 20), data=st.data())
def test_the_banded_search_finds_the_same_spans_as_an_exhaustive_search(
    seed: int, tokens: int, width: int, count: int, data: st.DataObject
) -> None:
    low = data.draw(st.integers(0, tokens - 1))
    high = data.draw(st.integers(low + 1, tokens))
    start, end = np.random.default_rng(seed).normal(size=(2, 1, tokens)).astype(np.float32)
    regions = np.array([[low, high]], dtype=np.int32)
    found = best_spans(start, end, regions, max_answer_length=width, count=count)[0]
    every = [(start[0, i] + end[0, j], i, j + 1) for i in range(low, high) for j in range(i, min(i + width, high))]
    best = sorted(every, reverse=True)[:count]
    assert found[0].item() == (0, 0, pytest.approx(start[0, 0] + end[0, 0]))
    assert [(score, i, j) for i, j, score in found[1:].tolist()][: len(best)] == best
    assert np.isneginf(found["score"][1 + len(best) : -1]).all()
    assert found[-1].item() == (0, 0, pytest.approx(np.log(sum(np.exp(score) for score, *_ in every)), abs=1e-5))


specials = st.sampled_from([np.nan, np.inf, -np.inf, 3e38])


@given(
    shape=st.tuples(st.integers(0, 5), st.integers(1, 12)),
    width=st.integers(1, 14),
    count=st.integers(1, 20),
    data=st.data(),
)
def test_equal_scores_nan_and_infinity_are_handled_as_by_a_full_sort(
    shape: tuple[int, int], width: int, count: int, data: st.DataObject
) -> None:
    windows, tokens = shape
    values = st.integers(-2, 2) | specials if data.draw(st.booleans()) else st.integers(-2, 2)
    rows = st.lists(st.lists(values, min_size=tokens, max_size=tokens), min_size=windows, max_size=windows)
    start, end = (np.array(data.draw(rows), dtype=np.float32).reshape(shape) for _ in range(2))
    borders = st.tuples(st.integers(0, tokens), st.integers(0, tokens)).map(sorted)
    drawn = data.draw(st.lists(borders, min_size=windows, max_size=windows))
    regions = np.array(drawn, dtype=np.int32).reshape(-1, 2)
    with np.errstate(invalid="ignore", over="ignore"):
        found = best_spans(start, end, regions, max_answer_length=width, count=count)
        expected = sorted_spans(start, end, regions, width, count)
    np.testing.assert_array_equal(found[:, 1:-1], expected)


def sorted_spans(
    start: NDArray[np.float32], end: NDArray[np.float32], regions: NDArray[np.int32], width: int, count: int
) -> NDArray[np.void]:
    """The best spans (windows, count): sorted by falling score, then by start and end."""
    spans = np.zeros((len(start), count), dtype=SPAN)
    spans["score"] = -np.inf
    for row, (low, high) in enumerate(regions.tolist()):
        every = [(i, j) for i in range(low, high) for j in range(i, min(i + width, high))]
        scores = np.array([start[row, i] + end[row, j] for i, j in every], dtype=np.float32)
        best = [number for number in np.argsort(-scores, kind="stable")[:count] if np.isfinite(scores[number])]
        for place, number in enumerate(best):
            i, j = every[number]
            spans[row, place] = (i, j + 1, scores[number])
    return spans


def test_without_windows_there_are_no_spans() -> None:
    nothing = np.empty((0, 0), dtype=np.float32)
    spans = best_spans(nothing, nothing, np.empty((0, 2), dtype=np.int32), max_answer_length=3, count=5)
    assert spans.shape == (0, 7)


def test_spans_of_each_window_stay_in_its_region() -> None:
    start = np.zeros((3, 9), dtype=np.float32)
    start[:, [0, 8]] = 50  # where no answer may begin
    regions = np.array([[2, 8], [3, 4], [1, 3]], dtype=np.int32)
    spans = best_spans(start, start.copy(), regions, max_answer_length=3, count=30)
    for (low, high), row in zip(regions.tolist(), spans[:, 1:-1], strict=True):
        found = row[np.isfinite(row["score"])]
        assert low <= found["start"].min()
        assert found["end"].max() <= high
        assert (found["end"] - found["start"]).max() <= 3
    assert np.isfinite(spans["score"][1, 1:-1]).sum() == 1
    assert spans["score"][:, 0].tolist() == [100, 100, 100]


def test_nan_logits_give_no_spans() -> None:
    start = np.full((1, 5), np.nan, dtype=np.float32)
    start[0, 2] = 1
    spans = best_spans(start, np.zeros_like(start), np.array([[1, 5]], dtype=np.int32), max_answer_length=2, count=5)
    assert spans[0, 1:-1][np.isfinite(spans["score"][0, 1:-1])].tolist() == [(2, 3, 1.0), (2, 4, 1.0)]


@given(seed=seeds, texts=st.lists(contexts, min_size=1, max_size=3))
def test_rank_finds_the_best_span_of_all_windows(imported: MakeCheckpoint, seed: int, texts: list[str]) -> None:
    windows = make(imported("extractor"), [("museum", text) for text in texts])
    answers = rank(texts, windows, search(windows, seed), null_threshold=None)
    start, end = logits(windows, seed)
    for number, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        candidates = []
        for row in np.flatnonzero(windows.request == number):
            assert windows.tokens.regions is not None
            low, high = windows.tokens.regions[row]
            shift = windows.first[row] - low
            for i in range(low, high):
                for j in range(i, min(i + WIDTH, high)):
                    first, last = windows.offsets[i + shift, 0], windows.offsets[j + shift, 1]
                    candidates.append((-(start[row, i] + end[row, j]), first, last))
        if not candidates:
            assert answer.text == ""
            continue
        score, first, last = min(candidates)
        assert answer.score == -score
        assert answer.text == text[first:last].strip()
        assert answer.windows == (windows.request == number).sum()


@given(
    seed=seeds,
    texts=st.lists(contexts, max_size=4),
    threshold=st.none() | st.integers(-20, 20).map(float),
    asked=st.sampled_from(["museum", "the museum of Busan"]),
)
def test_each_request_is_ranked_as_if_it_were_alone(
    imported: MakeCheckpoint, seed: int, texts: list[str], threshold: float | None, asked: str
) -> None:
    windows = make(imported("extractor"), [(asked, text) for text in texts])
    spans = search(windows, seed)
    together = rank(texts, windows, spans, null_threshold=threshold)
    for number, text in enumerate(texts):
        own = make(imported("extractor"), [(asked, text)])
        alone = rank([text], own, spans[windows.request == number], null_threshold=threshold)
        assert together[number] == alone[0]


@given(seed=seeds, text=contexts, decompose=st.booleans())
def test_the_answer_is_a_span_of_the_original_context(
    imported: MakeCheckpoint, seed: int, text: str, decompose: bool
) -> None:
    context = unicodedata.normalize("NFD", text) if decompose else text
    for kind in ("extractor", "extractor-roberta"):
        windows = make(imported(kind), [("museum", context)])
        answer = rank([context], windows, search(windows, seed), null_threshold=None)[0]
        assert 0 <= answer.start <= answer.end <= len(context)
        assert context[answer.start : answer.end] == answer.text == answer.text.strip()


@given(seed=seeds, text=contexts)
def test_a_decomposed_context_gets_the_same_answer(imported: MakeCheckpoint, seed: int, text: str) -> None:
    composed, decomposed = nfc(text), unicodedata.normalize("NFD", text)
    first, second = (make(imported("extractor"), [("museum", context)]) for context in (composed, decomposed))
    one = rank([composed], first, search(first, seed), null_threshold=None)[0]
    other = rank([decomposed], second, search(second, seed), null_threshold=None)[0]
    assert one.text in nfc(other.text)  # if the token is a part of a character cluster, the whole cluster
    assert one.score == other.score


CONTEXT = "The museum is in Busan"


def two_windows(imported: MakeCheckpoint, scores: list[tuple[float, float]]) -> tuple[str, Windows, NDArray[np.void]]:
    """A context with two windows, whose (null score, best score) are `scores`."""
    context = f"{CONTEXT}. {CONTEXT}."
    windows = make(imported("extractor"), [("museum", context)])
    spans = np.zeros((len(windows.tokens), 2), dtype=SPAN)
    spans["score"] = -np.inf
    assert windows.tokens.regions is not None
    low = windows.tokens.regions[0, 0]
    for row, (null, best) in enumerate(scores):
        spans[row] = [(0, 0, null), (low, low + 1, best)]
    spans["score"][len(scores) :, 0] = np.inf
    return context, windows, spans


@pytest.mark.parametrize(
    ("threshold", "answered"), [(None, True), (2.0, True), (1.9, False), (0.0, False), (-5.0, False)]
)
def test_the_answer_is_empty_if_the_margin_is_above_the_threshold(
    imported: MakeCheckpoint, threshold: float | None, answered: bool
) -> None:
    context, windows, spans = two_windows(imported, [(7.0, 1.0), (5.0, 3.0)])  # lowest null 5, best 3
    answer = rank([context], windows, spans, null_threshold=threshold)[0]
    assert bool(answer.text) == answered
    assert answer.null_score == 5.0
    if answered:
        assert (answer.score, answer.text) == (3.0, context[answer.start : answer.end])
    else:
        tokens = int(windows.tokens.lengths.sum())
        digest = windows.tokens.checkpoint.digest
        assert answer == Answer("", 0, 0, 5.0, 5.0, len(windows.tokens), digest, tokens=tokens)


def test_the_first_of_equal_spans_is_the_answer(imported: MakeCheckpoint) -> None:
    context, windows, spans = two_windows(imported, [(0.0, 3.0), (0.0, 3.0)])
    assert rank([context], windows, spans, null_threshold=None)[0].start == 0


def test_the_first_of_equal_spans_is_the_answer_even_if_only_a_later_window_has_it(imported: MakeCheckpoint) -> None:
    context, windows, spans = two_windows(imported, [(0.0, 3.0), (0.0, 3.0)])
    assert windows.tokens.regions is not None
    high = windows.tokens.regions[0, 1]
    spans[0, 1] = (high - 1, high, 3.0)
    assert rank([context], windows, spans, null_threshold=None)[0].start == windows.offsets[windows.first[1], 0]


@given(seed=seeds)
def test_one_span_per_window_gives_the_same_answer_as_many(imported: MakeCheckpoint, seed: int) -> None:
    context = " ".join(f"{letter}{number}" for number, letter in enumerate("abcdefghijklmnopqrst"))
    windows = make(imported("extractor"), [("museum", context)])
    assert len(windows.tokens) > 3
    few, all_of_them = (rank([context], windows, search(windows, seed, n), null_threshold=None)[0] for n in (1, 80))
    assert few == all_of_them


def test_white_space_is_not_an_answer(imported: MakeCheckpoint) -> None:
    context = "ab  \n  cd"
    windows = make(imported("extractor-roberta"), [("museum", context)])
    blank = [i for i, (start, end) in enumerate(windows.offsets.tolist()) if not context[start:end].strip()]
    spans = np.zeros((1, 3), dtype=SPAN)
    assert windows.tokens.regions is not None
    low = windows.tokens.regions[0, 0]
    spans[0] = [(0, 0, 0.0), (low + blank[0], low + blank[0] + 1, 9.0), (low, low + 1, 8.0)]
    answer = rank([context], windows, spans, null_threshold=None)[0]
    assert (answer.text.strip(), answer.score) == (answer.text, 8.0)
    assert answer.text


@pytest.mark.parametrize("threshold", [None, 0.0])
def test_a_context_without_windows_gets_the_empty_answer(imported: MakeCheckpoint, threshold: float | None) -> None:
    requests = [("museum", ""), ("museum", CONTEXT), ("museum", " \n")]
    windows = make(imported("extractor"), requests)
    answers = rank([context for _, context in requests], windows, search(windows, 0), null_threshold=threshold)
    assert [(answer.text, answer.start, answer.end, answer.windows) for answer in answers[::2]] == [("", 0, 0, 0)] * 2


@pytest.mark.parametrize("kind", ["Unigram", "BPE", "byte-level BPE"])
def test_answers_hold_none_of_the_blanks_that_tokens_count_in(kind: str) -> None:
    tokenizer = KINDS[kind]()
    tokenizer.add_tokens([" museum ", "▁museum"])
    context = "  The museum  is\n in Busan. 회의는 세 시에  시작해요. "
    windows = WindowMaker(tokenizer, SETTINGS)([("Where?", context)], REF)
    assert any(context[start:end] != context[start:end].strip() for start, end in windows.offsets.tolist())
    for seed in range(20):
        (answer,) = rank([context], windows, search(windows, seed), null_threshold=None)
        assert answer.text == context[answer.start : answer.end] == answer.text.strip() != ""
