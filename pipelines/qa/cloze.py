"""Questions made from plain Korean text: a stretch of a sentence is asked for in what else the sentence says.

They read badly, and are meant to: words are left out, moved and inflected otherwise, so that a model learns to find
the sentence that a question is about and in it a stretch of the kind that the question word asks for.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from pipelines.korean import PARTICLES
from pipelines.qa.data import Example

LONGEST_ANSWER = 25  # characters
MOST_WORDS_BEFORE, MOST_WORDS_AFTER = 8, 6
FEWEST_WORDS = 2
TRIES = 3  # for each question wanted
SHORTEST_SENTENCE = 15  # characters

_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?!\s|$)[^.!?\n]*)*[.!?]?")
_WORD = re.compile(r"\S+")
_NOUN = re.compile(rf"([가-힣]{{2,8}})({'|'.join(PARTICLES)})")
_INFLECTED = re.compile(rf"(.*[가-힣A-Za-z0-9)]{{2}})({'|'.join(PARTICLES)})")
_PREDICATE = re.compile(r"(?:하였다|되었다|했다|됐다|한다|된다|하다|되다|이었다|였다|이다|있다|없다|았다|었다|다)$")
_UNITS = "명|개|원|달러|%|번|위|점|세|살|회|대|km|m|미터|시간|분|초|개월|권|편|호|차|장|골|세기|시|가지|곳|톤|배|주|층"
_PATTERNS = {
    "date": re.compile(r"(?:기원전 )?\d{1,4}년(?: \d{1,2}월)?(?: \d{1,2}일)?|\d{1,2}월(?: \d{1,2}일)?"),
    "number": re.compile(rf"(?:약 )?\d[\d,.]*[조억만천백]?\s?(?:{_UNITS})"),
    "title": re.compile(r"(?<=[《〈『「‘“'\"])[^《》〈〉『』「」‘’“”'\"]{2,25}(?=[》〉』」’”'\"])"),
    "latin": re.compile(r"[A-Za-z][A-Za-z0-9&.\-]+(?: [A-Z][A-Za-z0-9&.\-]+)*"),
}
_MEASURES = re.compile(r"원|달러|%|km|m|미터|톤|배")
_PLACES = tuple("시군구도국역섬산강")
_FAMILY_NAMES = frozenset("김이박최정강조윤장임한오서신권황안송류전홍고문양손배백허남심노하곽성차주우구민유나진")
_FULL_NAME = 3  # characters

_CLOSINGS = ("인가?", "인가?", "입니까?", "일까?", "는?", "?", "인지?", "이었나?", "이었는가?", "인가", "였는가?")
_ASKED_PREDICATES = (
    "했나?",
    "하였는가?",
    "했는가?",
    "되었나?",
    "되었는가?",
    "하나?",
    "하는가?",
    "인가?",
    "나?",
    "는가?",
)
_MODIFIERS = ("한", "된", "하는", "되는", "인", "던", "은")
_IN_PLACE = ("", "", "을", "에", "로", "가", "이", "에서")


@dataclass(frozen=True)
class Blank:
    """What a question may ask for: `sentence[start:end]`, of a kind that some question word fits."""

    start: int
    end: int
    kind: str
    particle: str = ""


def cloze_questions(passage: str, count: int, draw: Random) -> list[Example]:
    """Up to `count` questions on the passage, fewer where it has little to ask for."""
    spans = [match.span() for match in _SENTENCE.finditer(passage) if len(match[0]) > SHORTEST_SENTENCE]
    found: list[Example] = []
    for _ in range(TRIES * count if spans else 0):
        low, high = draw.choice(spans)
        sentence = passage[low:high]
        blank = draw_blank(sentence, draw)
        text = ask(sentence, blank, draw) if blank else None
        if blank and text:
            found.append(Example("cloze", text, passage, low + blank.start, low + blank.end))
        if len(found) == count:
            break
    return found


def draw_blank(sentence: str, draw: Random) -> Blank | None:
    """One of the sentence's blanks: rarer kinds come up more often than their share. None where there is none."""
    blanks = list(_blanks(sentence))
    kinds = sorted({blank.kind for blank in blanks})
    if not kinds:
        return None
    kind = draw.choice(kinds)
    return draw.choice([blank for blank in blanks if blank.kind == kind])


def _blanks(sentence: str) -> Iterator[Blank]:
    for kind, pattern in _PATTERNS.items():
        yield from (Blank(*match.span(), kind) for match in pattern.finditer(sentence))
    for word in _WORD.finditer(sentence):
        if noun := _NOUN.fullmatch(word[0]):
            yield Blank(word.start(), word.start() + noun.end(1), "noun", noun[2])


def ask(sentence: str, blank: Blank, draw: Random) -> str | None:
    """A question for the blank, from some of the words around it; None where too few are left to tell it by."""
    answer = sentence[blank.start : blank.end]
    before, after = _WORD.findall(sentence[: blank.start]), _WORD.findall(_rest(sentence[blank.end :]))
    leave_out = draw.choice((0.0, 0.1, 0.2, 0.35, 0.5))
    before = _some(before[len(before) - draw.randint(0, min(len(before), MOST_WORDS_BEFORE)) :], leave_out, draw)
    after = _some(after[: draw.randint(0, min(len(after), MOST_WORDS_AFTER))], leave_out, draw)
    if len(before) + len(after) < FEWEST_WORDS or any(answer in word for word in (*before, *after)):
        return None
    word = question_word(answer, blank, draw)
    return " ".join(_in_place(before, word, after, draw) if draw.random() < 0.3 else _at_end(before, word, after, draw))


def _rest(behind: str) -> str:
    """What follows a blank, without what is left of the blank's own word."""
    return behind[len(behind) - len(behind.lstrip()) :] if behind[:1].isspace() else behind.partition(" ")[2]


def _some(words: Sequence[str], leave_out: float, draw: Random) -> list[str]:
    reworded = [reword(word, draw) for word in words if draw.random() >= leave_out]
    return [word for word in reworded if word]


def reword(word: str, draw: Random) -> str:
    """The word without punctuation at its edges, now and then with another ending or none."""
    word, chance = word.strip(".,()[]\"'《》〈〉‘’“”"), draw.random()
    if chance < 0.45 and (noun := _INFLECTED.fullmatch(word)):
        return noun[1] + (draw.choice(PARTICLES) if draw.random() < 0.6 else "")
    if chance < 0.7 and (predicate := _PREDICATE.search(word)):
        return word[: predicate.start()] + draw.choice(_MODIFIERS)
    return word[:2] if chance > 0.9 else word


def _in_place(before: list[str], word: str, after: list[str], draw: Random) -> list[str]:
    """The question word where its answer stood, and the last word made to ask."""
    asked = _PREDICATE.sub("", after[-1]) if after else ""
    return [*before, word + draw.choice(_IN_PLACE), *after[:-1], asked + draw.choice(_ASKED_PREDICATES)]


def _at_end(before: list[str], word: str, after: list[str], draw: Random) -> list[str]:
    """The question word at the end, as in most Korean questions."""
    words = [*after, *before] if draw.random() < 0.35 else [*before, *after]
    if draw.random() < 0.15:
        draw.shuffle(words)
    topic = {"누": "사람은", "언": "때는", "어": "곳은"}.get(word[0], "것은")
    return [*words, *draw.choice(((), ("것은",), (topic,))), word + draw.choice(_CLOSINGS)]


def question_word(answer: str, blank: Blank, draw: Random) -> str:
    """A question word, or one with a noun, that may ask for the answer."""
    return draw.choice(_question_words(answer, blank))


def _question_words(answer: str, blank: Blank) -> tuple[str, ...]:
    if blank.kind == "date":
        return ("언제", "언제", *_DATE_WORDS.get(answer[-1], ()))
    if blank.kind == "number":
        unit = answer.lstrip("약 0123456789,.조억만천백")
        return ("얼마", "얼마나", f"몇 {unit}") if _MEASURES.fullmatch(unit) else (f"몇 {unit}", f"몇{unit}", "얼마나")
    if blank.kind in ("title", "latin"):
        return ("무엇", "무엇", "무슨 작품", "어떤 것", "이름")
    return _noun_words(answer, blank.particle)


_DATE_WORDS = {"년": ("몇 년", "몇 년도", "어느 해"), "월": ("몇 월",), "일": ("며칠", "몇월 몇일")}


def _noun_words(answer: str, particle: str) -> tuple[str, ...]:
    if particle == "에게":
        return ("누구",)
    if particle == "에서" or answer.endswith(_PLACES):
        return ("어디", "어디", "어느 곳")
    if len(answer) == _FULL_NAME and answer[0] in _FAMILY_NAMES:
        return ("누구", "누구", "누가", "무엇")
    return ("무엇", "무엇", "무엇", "누구", "어디", "어떤 것", "누가", "뭐")
