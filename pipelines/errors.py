"""Every error of the project, in one tree.

    MunjangError
    ├── InputError                  the caller's fault
    │   ├── MalformedInput          not what its media type says it is
    │   ├── InvalidInput            well formed, with a field at fault
    │   └── TooLarge                over a limit of the settings
    ├── UnavailableError            nobody's fault that the caller could mend
    │   ├── Overloaded              more is waiting than the settings allow
    │   ├── DeadlineExceeded        not done within the time a request may take
    │   ├── StageUnavailable        no replica of a stage could answer
    │   ├── CheckpointMismatch      tokens of one checkpoint reached the model of another
    │   ├── CheckpointsMixed        answers of two checkpoints came where one's were needed
    │   └── ServerFailed            a server that was asked over HTTP gave no answer
    ├── EngineError                 a forward pass failed on this item
    ├── ProviderError               the language-model provider gave no answer
    │   ├── ProviderKeyRefused      it does not take the caller's key
    │   ├── ProviderOverloaded      it takes no more requests with this key for now
    │   ├── ProviderRejected        it does not take the request
    │   ├── ProviderTimedOut        it was silent for too long
    │   ├── ProviderFailed          it failed, or can't be reached
    │   ├── ProviderAnswerUnusable  it answered, with nothing that could be passed on
    │   └── ProviderSuspended       it failed so often that it is not asked for a while
    ├── DataError                   rows that can't be trained or measured on
    │   ├── DataNotFound            no such file, data set, split or column
    │   └── BadRow                  a row that is not what the task needs
    ├── CheckpointError             a checkpoint that can't be served
    │   ├── CheckpointNotFound      no such folder, file, Hub id or revision
    │   ├── CheckpointDamaged       a file is missing, cut, altered or does not fit the others
    │   ├── CheckpointUnsafe        reading it would run code that came with it
    │   └── CheckpointUnsupported   intact, but of a kind that no task here serves
    └── StoreError                  a store of passages that can't be read or built
        ├── StoreNotFound           none of that name, whatever was asked for
        ├── StoreCorrupt            a file is missing, cut, altered or does not fit the others
        ├── StoreMismatch           built with another checkpoint than the one that embeds the questions
        ├── StoreUnsafe             importing it would run code that came with it
        └── DocumentUnreadable      a document that it should be built of is not text

Errors cross processes: `args` hold exactly the fields that rebuild one, so each survives pickling. None carries a
caller's text, and none knows of HTTP: `deployments.api.problems` maps types to status codes.
"""

from dataclasses import dataclass


class MunjangError(Exception):
    """The root of the tree."""


class Located(Exception):
    """What an error is that says where something is wrong, and what."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(where, why)
        self.where, self.why = where, why

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


class PassesLater(Exception):
    """What an error is that should be over in `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class InputError(MunjangError):
    """The caller's fault."""


class MalformedInput(InputError):
    """The bytes are not what their media type promises; the argument says in words what is wrong."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One field at fault: a JSON pointer (RFC 6901) to it, a short stable code, and words for a person."""

    pointer: str
    code: str
    detail: str


class InvalidInput(InputError):
    """Well formed, with fields at fault; the arguments are the `FieldFault`s, at least one."""

    def __init__(self, *faults: FieldFault) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "; ".join(f"{fault.pointer}: {fault.detail}" for fault in self.faults)


class TooLarge(InputError):
    """Over a limit: what is too large, the limit, and its unit."""

    def __init__(self, what: str, limit: int, unit: str) -> None:
        super().__init__(what, limit, unit)
        self.what, self.limit, self.unit = what, limit, unit

    def __str__(self) -> str:
        return f"{self.what} is over the limit of {self.limit:,} {self.unit}"


class UnavailableError(MunjangError):
    """Nobody's fault that the caller could mend."""


class Overloaded(PassesLater, UnavailableError):
    """More is waiting than the settings allow; in `retry_after_s` seconds there should be room."""

    def __str__(self) -> str:
        return f"too much is waiting; try again in {self.retry_after_s:.0f} s"


class DeadlineExceeded(UnavailableError):
    """Not done within `deadline_s` seconds."""

    def __init__(self, deadline_s: float) -> None:
        super().__init__(deadline_s)
        self.deadline_s = deadline_s

    def __str__(self) -> str:
        return f"no answer within {self.deadline_s:g} s"


class StageUnavailable(UnavailableError):
    """No replica of the named deployment could answer."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage

    def __str__(self) -> str:
        return f"{self.stage} is not available"


class CheckpointMismatch(UnavailableError):
    """Tokens of one checkpoint reached the model of another, as a rolling update can make happen for a moment."""

    def __init__(self, tokens_of: str, model_of: str) -> None:
        super().__init__(tokens_of, model_of)
        self.tokens_of, self.model_of = tokens_of, model_of

    def __str__(self) -> str:
        return f"tokens of checkpoint {self.tokens_of} reached the model of {self.model_of}"


class CheckpointsMixed(UnavailableError):
    """Answers to the items of one request came of two checkpoints for longer than a rolling update should take."""

    def __str__(self) -> str:
        return "the checkpoint is being replaced, and answers are of both versions; try again"


class ServerFailed(UnavailableError):
    """A server that was asked over HTTP gave no answer, or not the one it should."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.url, self.why = url, why

    def __str__(self) -> str:
        return f"{self.url} gave no answer: {self.why}"


class EngineError(MunjangError):
    """A forward pass failed on this item; the argument names the cause's type, never its text."""

    def __str__(self) -> str:
        return f"the model failed on this item ({', '.join(map(str, self.args))})"


class ProviderError(MunjangError):
    """The language-model provider gave no answer. Nothing that it said is repeated: it may hold the caller's key."""


class ProviderKeyRefused(ProviderError):
    """The provider does not take the caller's key."""

    def __str__(self) -> str:
        return "the language-model provider refused the API key"


class ProviderOverloaded(PassesLater, ProviderError):
    """The provider takes no more requests with this key for now; in `retry_after_s` seconds it should."""

    def __str__(self) -> str:
        return f"the language-model provider takes no more with this key; try again in {self.retry_after_s:.0f} s"


class ProviderRejected(ProviderError):
    """The provider does not take the request, whose model, length or form is not for it: the operator's to mend."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status

    def __str__(self) -> str:
        return f"the language-model provider does not take the request (status {self.status})"


class ProviderTimedOut(ProviderError):
    """The provider was silent for too long."""

    def __str__(self) -> str:
        return "the language-model provider did not answer in time"


class ProviderFailed(ProviderError):
    """The provider failed or can't be reached; the argument says how, in this project's words."""

    def __str__(self) -> str:
        return f"the language-model provider failed: {', '.join(map(str, self.args))}"


class ProviderAnswerUnusable(ProviderError):
    """The provider answered, with nothing that could be passed on; the argument says why, in this project's words."""

    def __str__(self) -> str:
        return f"the language-model provider gave an answer of no use: {', '.join(map(str, self.args))}"


class ProviderSuspended(PassesLater, ProviderError):
    """The provider failed so often in a row that it is not asked for another `retry_after_s` seconds."""

    def __str__(self) -> str:
        return f"the language-model provider keeps failing; try again in {self.retry_after_s:.0f} s"


class DataError(Located, MunjangError):
    """Rows that can't be trained or measured on: which file or data set, and why."""


class DataNotFound(DataError):
    """No such file, data set, split or column."""


class BadRow(DataError):
    """A row that is not what the task needs; `where` ends in its line of the file, or its row of the data set."""


class CheckpointError(Located, MunjangError):
    """A checkpoint that can't be served: which file or id, and why."""


class CheckpointNotFound(CheckpointError):
    """No such folder, file, Hub id or revision."""


class CheckpointDamaged(CheckpointError):
    """A file is missing, cut, altered or does not fit the others."""


class CheckpointUnsafe(CheckpointError):
    """Reading the file would run code that came with it."""


class CheckpointUnsupported(CheckpointError):
    """Intact, but of a kind that no task here serves."""


class StoreError(MunjangError):
    """A store of passages that can't be read or built."""


class StoreNotFound(StoreError):
    """No store of that name: one message for all of them, since what was asked for may be any path at all."""

    def __str__(self) -> str:
        return "there is no such store"


class StoreCorrupt(Located, StoreError):
    """A file is missing, cut, altered or does not fit the others: where, and what of it."""


class StoreMismatch(StoreError):
    """The named store was built with another checkpoint than the one that embeds the questions."""

    def __init__(self, store: str, built_with: str, embeds_with: str) -> None:
        super().__init__(store, built_with, embeds_with)
        self.store, self.built_with, self.embeds_with = store, built_with, embeds_with

    def __str__(self) -> str:
        return (
            f"store {self.store} was built with checkpoint {self.built_with}, and questions are of {self.embeds_with}"
        )


class StoreUnsafe(Located, StoreError):
    """Importing it would run code that came with it: where, and what it asks for."""


class DocumentUnreadable(Located, StoreError):
    """A document that a store should be built of is not text: where, and why."""
