"""What was done for a request: collected while its items are answered, for the headers of its answer.

A call carries items of several requests, so it is described once, by a `CallWork` to which its items point. Calls and
requests are found through context variables, so that pipelines and routes need not pass them on.
"""

from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pipelines.engines.model_stage import NO_WORK, Place, Work


@dataclass(slots=True, eq=False)
class CallWork:
    """What a call of a group commit cost.

    began_s      the monotonic time at which it left the group commit
    tokenized_s  seconds of the call of its tokenizer
    work, place  those of its model's `Outcome`
    """

    began_s: float
    tokenized_s: float = 0.0
    work: Work = NO_WORK
    place: Place | None = None


class RequestWork:
    """The calls of a request's items.

    calls       each call with the number of items that it carried for this request, and the sum of the seconds in which
                they waited, at the ingress and in the replica
    characters  characters of all items, or token ids where they were sent as ids
    tokens      tokens that the model read
    """

    __slots__ = ("calls", "characters", "tokens")

    def __init__(self) -> None:
        self.calls: list[tuple[CallWork, int, float]] = []
        self.characters = self.tokens = 0

    def add(self, calls: Sequence[CallWork], results: Sequence[Any], submitted_s: float, characters: int) -> None:
        """Add items that were submitted together: their calls and their results, of which some tell their tokens."""
        self.characters += characters
        for result in results:
            self.tokens += getattr(result, "tokens", 0)
        for call, count in Counter(calls).items() if len(calls) > 1 else ((calls[0], 1),):
            self.calls.append((call, count, count * (call.began_s - submitted_s + call.work.waited_s)))


CALL: ContextVar[CallWork | None] = ContextVar("CALL", default=None)
"""The call in whose context this runs."""
REQUEST: ContextVar[RequestWork | None] = ContextVar("REQUEST", default=None)
"""The request in whose context this runs; None where nobody asks for its work, as in jobs."""
