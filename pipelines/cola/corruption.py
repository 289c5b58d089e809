"""Makes correct sentences wrong by small edits, and says which words show it."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

WORD_CLASSES = (
    "am is are was were be been being",
    "have has had having",
    "do does did done doing",
    "will would can could may might must shall should to",
    "a an the this that these those some any every each all no",
    "i me my mine myself",
    "he him his himself she her hers herself it its itself",
    "we us our ours ourselves they them their theirs themselves",
    "you your yours yourself yourselves",
    "of in on at by for with from to into about over under between through after before",
    "who whom whose which what that where when why how",
    "and or but because although if that whether as than",
    "much many little few less fewer more most very too so",
    "not never ever n't always already yet still",
)
PUNCTUATION = ".,;:!?\"'()“”‘’"


def bare(word: str) -> str:
    """Lower case, without the punctuation at its ends."""
    return word.strip(PUNCTUATION).lower()


def dressed(word: str, like: str) -> str:
    """`word` with the punctuation around, and the capital of, the word it replaces."""
    core = like.strip(PUNCTUATION)
    if not core:
        return word
    begin = like.index(core)
    word = word.capitalize() if core[0].isupper() else word
    return like[:begin] + word + like[begin + len(core) :]


@dataclass
class Edited:
    """A sentence under edit; changed[i] tells whether word i is wrong, or stands behind a gap."""

    words: list[str]
    changed: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changed = self.changed or [False] * len(self.words)

    def replace(self, position: int, word: str) -> None:
        """Another word at `position`."""
        self.words[position] = dressed(word, self.words[position])
        self.changed[position] = True

    def insert(self, position: int, word: str) -> None:
        """A word too many before `position`."""
        self.words.insert(position, word)
        self.changed.insert(position, True)

    def delete(self, position: int) -> None:
        """A word missing at `position`; the word that now stands there shows it."""
        del self.words[position], self.changed[position]
        self.changed[min(position, len(self.words) - 1)] = True

    def swap(self, position: int, other: int) -> None:
        """Two words in each other's place."""
        words = self.words
        first, second = bare(words[position]), bare(words[other])
        words[position], words[other] = dressed(second, words[position]), dressed(first, words[other])
        self.changed[position] = self.changed[other] = True


class Corrupter:
    """Edits sentences at random, with words that are plausible in their place."""

    def __init__(self, sentences: Iterable[list[str]]) -> None:
        self._followers: dict[str, list[str]] = defaultdict(list)
        for words in sentences:
            cores = ["", *map(bare, words)]
            for previous, word in pairwise(cores):
                self._followers[previous].append(word)
        self._known = {word for words in self._followers.values() for word in words}
        self._classmates: dict[str, list[str]] = defaultdict(list)
        for group in map(str.split, WORD_CLASSES):
            for word in group:
                self._classmates[word] += [other for other in group if other != word]
        self._edits: list[tuple[Callable[[Edited, random.Random], bool], float]] = [
            (self._inflect, 3),
            (self._function_word, 3),
            (self._plausible_word, 1.5),
            (self._delete, 1.5),
            (self._insert, 1),
            (self._swap, 1),
        ]

    def __call__(self, words: list[str], draw: random.Random) -> Edited:
        """One to three edits; none where they cancel each other or no word lends itself to one."""
        edited = Edited(list(words))
        edits, weights = zip(*self._edits, strict=True)
        wanted = draw.choices((1, 2, 3), (6, 3, 1))[0]
        for _ in range(20):
            wanted -= draw.choices(edits, weights)[0](edited, draw)
            if wanted == 0:
                break
        return edited if edited.words != words else Edited(list(words))

    def forms(self, word: str) -> list[str]:
        """Other inflections of a word that the corpus knows: `walk` gives walks, walked, walking."""
        stems = {word}
        for ending, put in (("s", ""), ("es", ""), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"), ("ies", "y")):
            if word.endswith(ending) and len(word) > len(ending) + 2:
                stems.add(word[: -len(ending)] + put)
        known = {stem for stem in stems if stem in self._known}
        grown = {form for stem in known for form in _inflections(stem)}
        return sorted((known | (grown & self._known)) - {word})

    def _inflect(self, edited: Edited, draw: random.Random) -> bool:
        candidates = [(i, bare(word)) for i, word in enumerate(edited.words) if len(bare(word)) > 2]
        draw.shuffle(candidates)
        for position, word in candidates:
            if word not in self._classmates and (forms := self.forms(word)):
                edited.replace(position, draw.choice(forms))
                return True
        return False

    def _function_word(self, edited: Edited, draw: random.Random) -> bool:
        candidates = [i for i, word in enumerate(edited.words) if bare(word) in self._classmates]
        if not candidates:
            return False
        position = draw.choice(candidates)
        edited.replace(position, draw.choice(self._classmates[bare(edited.words[position])]))
        return True

    def _plausible_word(self, edited: Edited, draw: random.Random) -> bool:
        position = draw.randrange(1, len(edited.words))
        word = self._follower(bare(edited.words[position - 1]), draw)
        if word in {"", bare(edited.words[position])}:
            return False
        edited.replace(position, word)
        return True

    def _insert(self, edited: Edited, draw: random.Random) -> bool:
        position = draw.randrange(1, len(edited.words))
        word = self._follower(bare(edited.words[position - 1]), draw)
        if not word:
            return False
        edited.insert(position, word)
        return True

    def _delete(self, edited: Edited, draw: random.Random) -> bool:
        if len(edited.words) < 4:
            return False
        edited.delete(draw.randrange(len(edited.words) - 1))
        return True

    def _swap(self, edited: Edited, draw: random.Random) -> bool:
        position = draw.randrange(len(edited.words) - 1)
        other = min(position + draw.choice((1, 1, 2)), len(edited.words) - 1)
        if bare(edited.words[position]) == bare(edited.words[other]):
            return False
        edited.swap(position, other)
        return True

    def _follower(self, previous: str, draw: random.Random) -> str:
        """A word that follows `previous` somewhere in the corpus, as often as it does; "" if none does."""
        followers = self._followers.get(previous)
        return draw.choice(followers) if followers else ""


def _inflections(stem: str) -> set[str]:
    short = stem[:-1] if stem.endswith(("e", "y")) else stem
    return {stem + "s", stem + "es", short + "ed", short + "ing", short + "ies", short + "ied", stem + stem[-1] + "ed"}
