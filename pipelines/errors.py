"""All error classes of the project, in one tree.

    MunjangError
    ├── ConfigError                 the configuration file is not one that the graph understands
    ├── InputError                  the caller sent something wrong
    │   ├── MalformedInput          the bytes do not have the format that their media type names
    │   ├── UnsupportedMedia        the media type, character set or compression is one that the route does not read
    │   ├── InvalidInput            the format is right, but a field is wrong
    │   │   └── UnknownId           the caller has no file or job with this id
    │   ├── TooLarge                the input exceeds a limit of the settings
    │   ├── Conflict                the state of the file or job does not allow this
    │   ├── TooSlow                 the bytes arrive more slowly than the settings allow
    │   ├── UnknownModel            no model has this name
    │   └── WrongKind               the model can't do what is asked
    ├── UnavailableError            the server can't answer now; the caller did nothing wrong
    │   ├── Overloaded              more requests are waiting than the settings allow
    │   ├── DeadlineExceeded        the request took longer than a request may take
    │   ├── StageUnavailable        no replica of a stage could answer
    │   ├── CheckpointMismatch      tokens of one checkpoint reached the model of another
    │   ├── CheckpointsMixed        the items of one request were answered by two checkpoints
    │   ├── StorageFull             there is no room for another file, on the disk or in its quota
    │   ├── StorageFailed           the storage of files and jobs can't be read or written
    │   └── ServerFailed            a server that this process called over HTTP gave no answer
    ├── EngineError                 the forward pass failed on this item
    ├── StageFailed                 a deployment failed in a way that nobody expected
    ├── ProviderError               the language-model provider gave no answer
    │   ├── ProviderKeyRefused      it refused the caller's API key
    │   ├── ProviderOverloaded      it accepts no more requests with this key for now
    │   ├── ProviderRejected        it rejected the request
    │   ├── ProviderTimedOut        it did not answer in time
    │   ├── ProviderFailed          it failed or can't be reached
    │   ├── ProviderAnswerUnusable  it answered, but the answer can't be passed on
    │   └── ProviderSuspended       it failed so often that it is not called for a while
    ├── DataError                   rows can't be used for training, evaluation or offline runs
    │   ├── DataNotFound            no such file, data set, split or column
    │   ├── BadRow                  a row does not hold what the task needs
    │   └── OutputTaken             the folder for results holds something else
    ├── CheckpointError             a checkpoint can't be served
    │   ├── CheckpointNotFound      no such folder, file, Hub id or revision
    │   ├── CheckpointDamaged       a file is missing, truncated, altered or does not fit the others
    │   ├── CheckpointUnsafe        reading it would run code that it contains
    │   └── CheckpointUnsupported   intact, but of a kind that no task of this project serves
    └── StoreError                  a store of passages can't be read or built
        ├── StoreNotFound           no store has that name
        ├── StoreCorrupt            a file is missing, truncated, altered or does not fit the others
        ├── StoreMismatch           built with a different checkpoint than the one that embeds the questions
        ├── StoreUnsafe             importing it would run code that it contains
        └── DocumentUnreadable      a document for a new store is not text

Errors cross processes: `args` holds exactly the constructor's arguments, so that every error can be pickled. No error
contains a caller's text, and none knows about HTTP: `deployments.api.problems` maps error types to status codes.
"""

from dataclasses import dataclass


class MunjangError(Exception):
    """The root of the tree."""


class ConfigError(MunjangError):
    """The configuration file is not one that the graph understands; the argument says why."""


class Located(Exception):
    """An error that names the place of a fault (a file, a line, a key) and the fault itself."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(where, why)
        self.where, self.why = where, why

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


class RetryLater(Exception):
    """A temporary error; the caller should try again after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class InputError(MunjangError):
    """The caller sent something wrong."""


class MalformedInput(InputError):
    """The bytes do not have the format that their media type names; the argument says what is wrong."""


class UnsupportedMedia(InputError):
    """The media type, character set or compression is one that the route does not read; the argument says which."""


class Conflict(InputError):
    """The state of a file or job does not allow what the caller wants; the argument says why."""


class TooSlow(InputError):
    """The bytes of a request arrive more slowly than the settings allow."""

    def __str__(self) -> str:
        return "the body did not arrive in time"


class UnknownModel(InputError):
    """No served model has the name in the request; the argument says which names there are."""

    def __str__(self) -> str:
        return f"there is no such model; there are {', '.join(map(str, self.args))}"


class WrongKind(InputError):
    """The served checkpoint is of a kind that can't do what is asked; the argument says why."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One wrong field: a JSON pointer (RFC 6901) to it, a short stable code, and an explanation for people."""

    pointer: str
    code: str
    detail: str


class InvalidInput(InputError):
    """The input has the right format, but wrong fields; the arguments are their `FieldFault`s, at least one."""

    def __init__(self, *faults: FieldFault) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "; ".join(f"{fault.pointer}: {fault.detail}".removeprefix(": ") for fault in self.faults)


class UnknownId(InvalidInput):
    """The caller has nothing with this id; the argument is what was looked for. The id is not repeated."""

    def __init__(self, what: str) -> None:
        super().__init__(FieldFault("", "not_found", f"there is no such {what}"))
        self.args = (what,)


class TooLarge(InputError):
    """The input exceeds a limit; the arguments are what is too large, the limit and its unit."""

    def __init__(self, what: str, limit: int, unit: str) -> None:
        super().__init__(what, limit, unit)
        self.what, self.limit, self.unit = what, limit, unit

    def __str__(self) -> str:
        return f"{self.what} is over the limit of {self.limit:,} {self.unit}"


class UnavailableError(MunjangError):
    """The server can't answer now; the caller did nothing wrong."""


class Overloaded(RetryLater, UnavailableError):
    """More requests are waiting than the settings allow; there should be room in `retry_after_s` seconds."""

    def __str__(self) -> str:
        return f"too many requests are waiting; try again in {self.retry_after_s:.0f} s"


class DeadlineExceeded(UnavailableError):
    """The request took longer than `deadline_s` seconds."""

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
    """Tokens of one checkpoint reached the model of another; this can happen for a moment in a rolling update."""

    def __init__(self, tokens_of: str, model_of: str) -> None:
        super().__init__(tokens_of, model_of)
        self.tokens_of, self.model_of = tokens_of, model_of

    def __str__(self) -> str:
        return f"tokens of checkpoint {self.tokens_of} reached the model of {self.model_of}"


class CheckpointsMixed(UnavailableError):
    """Two checkpoints answered the items of one request, for longer than a rolling update should take."""

    def __str__(self) -> str:
        return "the checkpoint is being replaced and the answers come from both versions; try again"


class StorageFull(UnavailableError):
    """There is no room for another file, on the disk or in its quota."""

    def __str__(self) -> str:
        return "there is no room for more files; delete some, or wait until they expire"


class StorageFailed(UnavailableError):
    """The storage of files and jobs can't be read or written; the argument is the type of the cause."""

    def __str__(self) -> str:
        return f"the storage of files and jobs failed ({', '.join(map(str, self.args))})"


class ServerFailed(UnavailableError):
    """A server that this process called over HTTP gave no answer or a wrong one."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.url, self.why = url, why

    def __str__(self) -> str:
        return f"{self.url} gave no answer: {self.why}"


class EngineError(MunjangError):
    """The forward pass failed on this item; the argument is the type of the cause, never its message."""

    def __str__(self) -> str:
        return f"the model failed on this item ({', '.join(map(str, self.args))})"


class StageFailed(MunjangError):
    """A method of a deployment failed unexpectedly; the arguments are the method and the type of the cause."""

    def __str__(self) -> str:
        return f"{self.args[0]} failed ({self.args[1]})"


class ProviderError(MunjangError):
    """The language-model provider gave no answer.

    Messages never repeat the provider's text, because it may contain the caller's API key.
    """


class ProviderKeyRefused(ProviderError):
    """The provider refused the caller's API key."""

    def __str__(self) -> str:
        return "the language-model provider refused the API key"


class ProviderOverloaded(RetryLater, ProviderError):
    """The provider accepts no more requests with this key for the next `retry_after_s` seconds."""

    def __str__(self) -> str:
        wait = f"{self.retry_after_s:.0f} s"
        return f"the language-model provider accepts no more requests with this key for now; try again in {wait}"


class ProviderRejected(ProviderError):
    """The provider rejected the request because of its model, length or form; the operator must fix that."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status

    def __str__(self) -> str:
        return f"the language-model provider rejected the request (status {self.status})"


class ProviderTimedOut(ProviderError):
    """The provider did not answer in time."""

    def __str__(self) -> str:
        return "the language-model provider did not answer in time"


class ProviderFailed(ProviderError):
    """The provider failed or can't be reached; the argument says why, never in the provider's words."""

    def __str__(self) -> str:
        return f"the language-model provider failed: {', '.join(map(str, self.args))}"


class ProviderAnswerUnusable(ProviderError):
    """The provider's answer can't be passed on; the argument says why, never in the provider's words."""

    def __str__(self) -> str:
        return f"the language-model provider gave an unusable answer: {', '.join(map(str, self.args))}"


class ProviderSuspended(RetryLater, ProviderError):
    """The provider failed so often in a row that it is not called for another `retry_after_s` seconds."""

    def __str__(self) -> str:
        return f"the language-model provider keeps failing; try again in {self.retry_after_s:.0f} s"


class DataError(Located, MunjangError):
    """Rows can't be used for training, evaluation or offline runs: the file or data set, and why."""


class DataNotFound(DataError):
    """No such file, data set, split or column."""


class BadRow(DataError):
    """A row does not hold what the task needs; `where` ends with its line in the file or its row in the data set."""


class OutputTaken(DataError):
    """The folder for results holds something else, or results of another run."""


class CheckpointError(Located, MunjangError):
    """A checkpoint can't be served: the file or id, and why."""


class CheckpointNotFound(CheckpointError):
    """No such folder, file, Hub id or revision."""


class CheckpointDamaged(CheckpointError):
    """A file is missing, truncated, altered or does not fit the others."""


class CheckpointUnsafe(CheckpointError):
    """Reading the file would run code that it contains."""


class CheckpointUnsupported(CheckpointError):
    """The checkpoint is intact, but of a kind that no task of this project serves."""


class StoreError(MunjangError):
    """A store of passages can't be read or built."""


class StoreNotFound(StoreError):
    """No store has that name. The message does not repeat the name, because it may be any path."""

    def __str__(self) -> str:
        return "there is no such store"


class StoreCorrupt(Located, StoreError):
    """A file is missing, truncated, altered or does not fit the others: which file, and what is wrong."""


class StoreMismatch(StoreError):
    """The named store was built with a different checkpoint than the one that embeds the questions."""

    def __init__(self, store: str, built_with: str, embeds_with: str) -> None:
        super().__init__(store, built_with, embeds_with)
        self.store, self.built_with, self.embeds_with = store, built_with, embeds_with

    def __str__(self) -> str:
        return (
            f"store {self.store} was built with checkpoint {self.built_with}, "
            f"but questions are embedded with {self.embeds_with}"
        )


class StoreUnsafe(Located, StoreError):
    """Importing the store would run code that it contains: the file, and the object that it names."""


class DocumentUnreadable(Located, StoreError):
    """A document for a new store is not text: the file, and why."""


def install_hint(extra: str) -> str:
    """How to install the packages of an extra (see pyproject.toml), for messages about a missing package."""
    return f"pip install 'munjang[{extra}]' or, in a checkout, make .venv/{extra}"
