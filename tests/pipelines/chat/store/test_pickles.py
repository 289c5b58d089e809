import collections
import copyreg
import datetime
import enum
import functools
import http
import ipaddress
import operator
import os
import pickle
import pickletools
import re
import subprocess
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.chat.store.pickles import RECORDS, Name, Record, read_records
from pipelines.errors import StoreCorrupt, StoreUnsafe
from pipelines.format.pickle_machine import Inert
from tests.pipelines.chat.langchain_classes import Docstore, LangChainDocument, pretending
from tests.pipelines.checkpoints.damage import Planted

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda values: (
        st.lists(values)
        | st.lists(values).map(tuple)
        | st.dictionaries(st.text() | st.integers(), values)
        | st.sets(st.text())
    ),
    max_leaves=20,
)
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], object]:
    def read_bytes(content: bytes) -> object:
        (tmp_path / "index.pkl").write_bytes(content)
        return read_records(tmp_path / "index.pkl")

    return read_bytes


@SAME_FOLDER
@given(value=PLAIN, protocol=st.integers(4, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_read_unchanged(read: Callable[[bytes], object], value: object, protocol: int) -> None:
    assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("module", "name"), sorted(RECORDS))
def test_records_keep_their_state(read: Callable[[bytes], object], module: str, name: str, version: int) -> None:
    value = Docstore({}) if name == "InMemoryDocstore" else LangChainDocument("글", version, page=3)
    with pretending(**{"docstore" if name == "InMemoryDocstore" else "document": module}):
        record = read(pickle.dumps(value))
    assert isinstance(record, Record)
    assert record.kind == Name(module, name)
    assert record.state == getattr(value, "state", {"_dict": {}})


class CallOf:
    """Pickles as a call of the given function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


class ArrayOf:
    """Pickles as a numpy array of one value, with this type and these data."""

    def __init__(self, *state: object) -> None:
        self.state = state

    def __reduce__(self) -> tuple[object, ...]:
        kind, data = self.state
        return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), kind, False, data)


class StateTrick:
    """Runs code when its state is set, so it may stand for any class of which nothing is known."""

    def __init__(self, *_: object) -> None:
        self.field = 1

    def __setstate__(self, state: object) -> None:
        raise AssertionError("the planted code ran")


def planted(_: str) -> None:
    raise AssertionError("the planted code ran")


class Level(enum.IntEnum):
    HIGH = 3


class Kind(enum.Enum):
    REPORT = "report"
    PAIR = (1, "b")


class Outer:
    class Inner(enum.Flag):
        A = 1
        B = 2


INERT = {
    "datetime": datetime.datetime(2023, 5, 1, 9, 30),
    "zone": datetime.datetime(2023, 5, 1, tzinfo=ZoneInfo("Asia/Seoul")),
    "offset": datetime.time(3, tzinfo=datetime.timezone(datetime.timedelta(hours=9))),
    "date": datetime.date(2023, 5, 1),
    "keys": {datetime.date(2023, 5, 1): 1, (1, ("a", None)): 2},
    "uuid": uuid.UUID(int=5),
    "path": [Path("/data/a.txt"), PurePosixPath("a"), PureWindowsPath("C:/a")],
    "pattern and error": [re.compile("a+"), ValueError("a message")],
    "number": [Decimal("3.5"), Fraction(1, 3), 1j, 2**5000],
    "numpy scalar": [np.float64(0.5), np.int64(7), np.bool_(True), np.str_("a"), np.datetime64("2023-05-01")],
    "numpy array": [np.arange(6).reshape(2, 3), np.asfortranarray(np.ones((2, 2))), np.array(["a", "b"])],
    "numpy objects": np.array(["a", None, b"raw"], dtype=object),
    "numpy structure": np.zeros(2, dtype=[("a", "i4"), ("b", "f8")]),
    "sets": [frozenset({"x"}), {"a"}, {frozenset({1}), (1, (2,))}, frozenset()],
    "bytes": [b"x", bytearray(b"y")],
    "members": [Kind.REPORT, Kind.PAIR, Outer.Inner.A | Outer.Inner.B, Level.HIGH, http.HTTPStatus.OK],
    "mappings": [OrderedDict(a=1), defaultdict(list, a=[1]), collections.Counter("aab"), collections.ChainMap({})],
    "deque": collections.deque([1, 2], maxlen=3),
    "address": [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_network("10.0.0.0/8")],
    "others": [..., range(3), slice(1), int, str],
}


def recursive() -> tuple[list[object]]:
    value: tuple[list[object]] = ([],)
    value[0].append(value)
    return value


@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in INERT.items()])
@pytest.mark.parametrize("protocol", [4, 5])
def test_inert_values_are_read_without_their_classes(
    read: Callable[[bytes], object], value: object, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = pickle.dumps({"source": "a.txt", "value": value, "after": "b"}, protocol)
    monkeypatch.setattr("builtins.__import__", planted)
    read_value = read(content)
    monkeypatch.undo()
    assert isinstance(read_value, dict)
    assert (read_value["source"], read_value["after"]) == ("a.txt", "b")


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in INERT.items()])
def test_a_planted_call_beside_inert_values_is_refused_and_does_not_run(
    read: Callable[[bytes], object], value: object, protocol: int, tmp_path: Path
) -> None:
    mark = tmp_path / "the planted code ran"
    for content in ([value, Planted(mark)], [Planted(mark), value], {"value": value, "call": [Planted(mark)]}):
        with pytest.raises(StoreUnsafe, match=r"names posix\.system,"):
            read(pickle.dumps(content, protocol))
    assert not mark.exists()


def test_a_placeholder_keeps_the_data_of_its_object(read: Callable[[bytes], object]) -> None:
    value = read(pickle.dumps([Path("/data/a.txt"), Kind.REPORT, OrderedDict(source="b.txt"), uuid.UUID(int=5)]))
    assert isinstance(value, list)
    assert all(isinstance(item, Inert) for item in value)
    assert [item.text for item in value] == ["a.txt", "report", None, None]
    assert value[2].entries == {"source": "b.txt"}
    assert value[3].state["int"] == 5


def test_a_tuple_that_contains_itself_is_read(read: Callable[[bytes], object]) -> None:
    value = read(pickle.dumps(recursive()))
    assert isinstance(value, tuple)
    assert value[0][0] is value


def test_an_unknown_class_is_refused_until_it_is_declared_inert(tmp_path: Path) -> None:
    path, name = tmp_path / "index.pkl", f"{__name__}.StateTrick"
    path.write_bytes(pickle.dumps(["글", StateTrick()]))
    with pytest.raises(StoreUnsafe, match=f"names {name}, .*add --inert {name}:"):
        read_records(path)
    text, skipped = read_records(path, [name])
    assert (text, skipped.kind, skipped.state) == ("글", Name(__name__, "StateTrick"), {"field": 1})


def test_the_refusal_of_a_known_function_does_not_advise_to_skip_it(read: Callable[[bytes], object]) -> None:
    with pytest.raises(StoreUnsafe) as refusal:
        read(pickle.dumps(CallOf(os.system, "true")))
    assert "--inert" not in str(refusal.value)


@pytest.mark.parametrize("code", ["O8", "|O", "<O8"])
def test_objects_that_numpy_would_unpickle_from_bytes_are_refused(
    read: Callable[[bytes], object], code: str, tmp_path: Path
) -> None:
    hidden = pickle.dumps(Planted(tmp_path / "the planted code ran"))
    kind = CallOf(np.dtype, code)
    for value in (CallOf(np._core.multiarray.scalar, kind, hidden), ArrayOf(kind, hidden)):
        with pytest.raises(StoreUnsafe, match="pickled once more"):
            read(pickle.dumps(value))
    assert not (tmp_path / "the planted code ran").exists()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (CallOf(os.system, "true"), r"posix\.system"),
        (CallOf(eval, "1"), r"(builtins|__builtin__)\.eval"),
        (CallOf(getattr, "", "join"), r"(builtins|__builtin__)\.getattr"),
        ({"metadata": [{"deep": CallOf(os.system, "true")}]}, r"posix\.system"),
        (CallOf(getattr, CallOf(os.getcwd), "join"), r"(posix\.getcwd|(builtins|__builtin__)\.getattr)"),
        (CallOf(getattr, ZoneInfo, "clear_cache"), r"(builtins|__builtin__)\.getattr"),
        (getattr, r"(builtins|__builtin__)\.getattr"),
        (CallOf(__import__, "os"), r"(builtins|__builtin__)\.__import__"),
        (functools.partial(os.system, "true"), r"functools\.partial"),
        (operator.attrgetter("system"), r"operator\.attrgetter"),
        (CallOf(copyreg.add_extension, "os", "system", 1), r"(copyreg|copy_reg)\.add_extension"),
        (CallOf(subprocess.Popen, "true"), r"(subprocess|commands)\.Popen"),
        (np.array([CallOf(os.system, "true")], dtype=object), r"posix\.system"),
        (OrderedDict(a=CallOf(os.system, "true")), r"posix\.system"),
        (defaultdict(os.getcwd), r"posix\.getcwd"),
        (StateTrick(), r"tests\.pipelines\.chat\.store\.test_pickles\.StateTrick"),
        (CallOf(planted, "x"), r"tests\.pipelines\.chat\.store\.test_pickles\.planted"),
        (CallOf(StateTrick, "x", "y"), r"tests\.pipelines\.chat\.store\.test_pickles\.StateTrick"),
        (CallOf(StateTrick, ["x"]), r"tests\.pipelines\.chat\.store\.test_pickles\.StateTrick"),
        (os.system, r"posix\.system"),
        (Record, r"pipelines\.chat\.store\.pickles\.Record"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_anything_except_data_is_refused_with_its_name(
    read: Callable[[bytes], object], value: object, named: str, protocol: int
) -> None:
    with pytest.raises(StoreUnsafe, match=f"names {named},"):
        read(pickle.dumps(value, protocol))


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch planted'\ntR.",  # GLOBAL, REDUCE
        b"(S'touch planted'\nios\nsystem\n.",  # INST
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0dtouch planted\x85R.",  # STACK_GLOBAL, REDUCE
        b"\x80\x04\x8c\x0flangchain.schema\x94\x8c\x08Document\x93\x8c\x01a\x85R.",  # a call of an allowed class
        b"\x80\x04\x8c\x10langchain.schema\x94\x8c\x08Document\x93\x8c\x01a\x85\x81.",  # arguments to an allowed class
        b"\x80\x04\x8c\x10langchain.schema\x94\x8c\x0bDocument.os\x93.",  # an attribute of an allowed class
        b"\x80\x02\x82\x01.",  # the extension registry
        b"\x80\x04Pplanted\n.",  # a persistent id
        b"\x80\x04}}b.",  # a state for something that is not a record
    ],
)
def test_hand_written_programs_are_refused(
    read: Callable[[bytes], object], program: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((StoreUnsafe, StoreCorrupt)):
        read(program)
    assert not Path("planted").exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.99])
def test_a_cut_file_is_corrupt(read: Callable[[bytes], object], share: float) -> None:
    content = pickle.dumps([{"글": "하나"}] * 50)
    with pytest.raises(StoreCorrupt):
        read(content[: int(len(content) * share)])


def test_a_large_memo_index_takes_no_memory(read: Callable[[bytes], object]) -> None:
    assert read(b"\x80\x04Nr\xff\xff\xff\x7f.") is None  # Python's own machine would allocate 16 GB


NESTED = b")" + b"".join(b"\x94h" + bytes([place]) + b"\x86" for place in range(60))
"""A tuple that contains () twice, within a tuple that contains it twice, 60 deep: hashing it takes 2**60 steps."""


@pytest.mark.parametrize(
    "program",
    [
        b"}" + NESTED + b"Ns.",  # a key
        b"}(" + NESTED + b"Nu.",  # one of several
        b"\x8f(" + NESTED + b"\x90.",  # an item of a set
        NESTED + b"\x8c\x01a\x93.",  # a module
        b"\x8c\x01a" + NESTED + b"\x93.",  # a class
    ],
)
def test_a_value_that_takes_for_ever_to_hash_is_corrupt(read: Callable[[bytes], object], program: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        read(b"\x80\x04" + program)


@SAME_FOLDER
@given(data=st.data())
def test_altered_bytes_never_run_code_and_raise_only_store_errors(
    read: Callable[[bytes], object], data: st.DataObject, tmp_path: Path
) -> None:
    mark = tmp_path / "the planted code ran"
    content = bytearray(pickle.dumps({"a": [Planted(mark), {"글"}, (1, 2.5)]}))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.sampled_from(pickletools.opcodes)).code.encode("latin-1")[0]
    try:
        read(bytes(content))
    except (StoreUnsafe, StoreCorrupt) as error:
        assert error.where == str(tmp_path / "index.pkl")  # noqa: PT017  some altered files are still harmless
    assert not mark.exists()
