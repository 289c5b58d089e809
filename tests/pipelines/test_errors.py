import pickle
from collections.abc import Iterator

import pytest

from pipelines import errors
from pipelines.errors import (
    CheckpointError,
    CheckpointMismatch,
    CheckpointsMixed,
    DataError,
    DeadlineExceeded,
    DocumentUnreadable,
    EngineError,
    FieldFault,
    InvalidInput,
    MunjangError,
    Overloaded,
    ProviderAnswerUnusable,
    ProviderFailed,
    ProviderKeyRefused,
    ProviderOverloaded,
    ProviderRejected,
    ProviderSuspended,
    ProviderTimedOut,
    ServerFailed,
    StageFailed,
    StageUnavailable,
    StoreCorrupt,
    StoreMismatch,
    StoreNotFound,
    StoreUnsafe,
    TooLarge,
    UnknownId,
)

FAULTS = (FieldFault("/sentence_1", "blank", "has no text"), FieldFault("/results/3", "missing", "is missing"))
ARGUMENTS: dict[type[MunjangError], tuple[object, ...]] = {
    InvalidInput: FAULTS,
    UnknownId: ("file",),
    TooLarge: ("the file", 1024, "bytes"),
    Overloaded: (1.5,),
    StageFailed: ("Tokenizer.windows", "ValueError"),
    DeadlineExceeded: (30.0,),
    StageUnavailable: ("Tokenizer",),
    CheckpointMismatch: ("aaaa", "bbbb"),
    ServerFailed: ("http://localhost:8000/info", "ConnectError"),
    DataError: ("rows.csv, line 3", "has no column label"),
    CheckpointError: ("model.safetensors", "missing"),
    ProviderKeyRefused: (),
    ProviderOverloaded: (20.0,),
    ProviderRejected: (404,),
    ProviderTimedOut: (),
    ProviderFailed: ("status 500",),
    ProviderAnswerUnusable: ("it is not a completion",),
    ProviderSuspended: (10.0,),
    StoreNotFound: (),
    StoreCorrupt: ("vector_store", "manifest.json is missing"),
    StoreMismatch: ("vector_store", "aaaa", "bbbb"),
    StoreUnsafe: ("index.pkl", "names os.system"),
    DocumentUnreadable: ("family.md", "not UTF-8"),
}


def tree(root: type[MunjangError]) -> Iterator[type[MunjangError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def instance(kind: type[MunjangError]) -> MunjangError:
    known = next((parent for parent in kind.__mro__ if parent in ARGUMENTS), None)
    return kind(*(ARGUMENTS[known] if known else ("in words",)))


@pytest.mark.parametrize("kind", list(tree(MunjangError)), ids=lambda kind: kind.__name__)
def test_every_error_keeps_its_fields_when_pickled(kind: type[MunjangError]) -> None:
    error = instance(kind)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert again.args == error.args
    assert vars(again) == vars(error)
    assert str(again) == str(error)


def test_the_tree_in_the_docstring_names_every_error() -> None:
    drawn = (errors.__doc__ or "").partition("Errors cross processes")[0]
    assert [kind.__name__ for kind in tree(MunjangError) if kind.__name__ not in drawn] == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InvalidInput(*FAULTS), "/sentence_1: has no text; /results/3: is missing"),
        (InvalidInput(FieldFault("", "dict_type", "must be an object")), "must be an object"),
        (TooLarge("the file", 1048576, "bytes"), "the file is over the limit of 1,048,576 bytes"),
        (Overloaded(2.4), "too many requests are waiting; try again in 2 s"),
        (DeadlineExceeded(0.5), "no answer within 0.5 s"),
        (StageUnavailable("StsEncoder"), "StsEncoder is not available"),
        (CheckpointMismatch("aa", "bb"), "tokens of checkpoint aa reached the model of bb"),
        (CheckpointsMixed(), "the checkpoint is being replaced and the answers come from both versions; try again"),
        (EngineError("RuntimeError"), "the model failed on this item (RuntimeError)"),
        (ServerFailed("http://host/info", "status 503"), "http://host/info gave no answer: status 503"),
        (DataError("rows.csv, line 3", "not JSON"), "rows.csv, line 3: not JSON"),
        (CheckpointError("a/config.json", "not JSON"), "a/config.json: not JSON"),
        (ProviderKeyRefused(), "the language-model provider refused the API key"),
        (
            ProviderOverloaded(20),
            "the language-model provider accepts no more requests with this key for now; try again in 20 s",
        ),
        (ProviderRejected(404), "the language-model provider rejected the request (status 404)"),
        (ProviderTimedOut(), "the language-model provider did not answer in time"),
        (ProviderFailed("status 500"), "the language-model provider failed: status 500"),
        (ProviderAnswerUnusable("it is empty"), "the language-model provider gave an unusable answer: it is empty"),
        (ProviderSuspended(9.6), "the language-model provider keeps failing; try again in 10 s"),
        (StoreNotFound(), "there is no such store"),
        (StoreCorrupt("notes", "vectors.npy is cut"), "notes: vectors.npy is cut"),
        (
            StoreMismatch("notes", "aa", "bb"),
            "store notes was built with checkpoint aa, but questions are embedded with bb",
        ),
        (StoreUnsafe("index.pkl", "names os.system"), "index.pkl: names os.system"),
        (DocumentUnreadable("a.txt", "not UTF-8"), "a.txt: not UTF-8"),
    ],
)
def test_the_message_of_an_error_says_what_happened(error: MunjangError, words: str) -> None:
    assert str(error) == words
