import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.qa.overlap import GRADES, bigrams, frequencies, overlap_grades, overlapping_tokens

SPACES = " \t\n\r\v\f\u00a0\u3000"
texts = st.text(alphabet=f"abAB각값İ😀\u0301{SPACES}", max_size=14)


@given(texts, texts, st.data())
def test_tokens_that_cover_part_of_a_shared_bigram_overlap(question: str, context: str, data: st.DataObject) -> None:
    places = st.integers(0, len(context))
    spans = [sorted(span) for span in data.draw(st.lists(st.tuples(places, places), max_size=6))]
    offsets = np.array(spans, dtype=np.int32).reshape(-1, 2)
    assert overlapping_tokens(bigrams(question), bigrams(context), offsets).tolist() == [
        naive(question, context, *s) for s in spans
    ]


def naive(question: str, context: str, start: int, end: int) -> bool:
    asked = {folded(question[i : i + 2]) for i in range(len(question) - 1)}
    shared = [i for i in range(len(context) - 1) if folded(context[i : i + 2]) in asked]
    return any(i in range(start, end) or i + 1 in range(start, end) for i in shared if not white(context[i : i + 2]))


@given(texts, texts, st.data())
def test_a_token_has_the_highest_grade_of_the_runs_that_it_touches(
    question: str, context: str, data: st.DataObject
) -> None:
    places = st.integers(0, len(context))
    spans = [sorted(span) for span in data.draw(st.lists(st.tuples(places, places), max_size=6))]
    offsets = np.array(spans, dtype=np.int32).reshape(-1, 2)
    pairs = bigrams(context)
    grades = overlap_grades(bigrams(question), pairs, frequencies(pairs), offsets)
    runs = naive_runs(question, context)
    assert grades.tolist() == [
        max((grade for low, high, grade in runs if start < end and low < end and high > start), default=0)
        for start, end in spans
    ]
    assert (grades > 0).tolist() == overlapping_tokens(bigrams(question), pairs, offsets).tolist()
    assert grades.max(initial=0) <= GRADES


def naive_runs(question: str, context: str) -> list[tuple[int, int, int]]:
    """(start, end, grade) in characters."""
    asked = {folded(question[i : i + 2]) for i in range(len(question) - 1)}
    there = [folded(context[i : i + 2]) for i in range(len(context) - 1)]
    shared = [pair in asked and not white(pair) for pair in there]
    runs = []
    for start in (i for i, yes in enumerate(shared) if yes and (i == 0 or not shared[i - 1])):
        end = next((i for i in range(start, len(shared)) if not shared[i]), len(shared))
        grade = min(end - start, 3)
        grade += 3 if start == 0 or white(context[start - 1]) else 0
        grade += 6 if min(there.count(pair) for pair in there[start:end]) <= 2 else 0
        runs.append((start, end + 1, grade))
    return runs


def folded(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def white(text: str) -> bool:
    return any(letter in SPACES for letter in text)


def test_a_name_of_the_question_is_found_in_the_context() -> None:
    context = "서울의 도서관"
    offsets = np.array([[0, 2], [2, 3], [4, 7]], dtype=np.int32)
    assert overlapping_tokens(bigrams("도서관은 어디?"), bigrams(context), offsets).tolist() == [False, False, True]
