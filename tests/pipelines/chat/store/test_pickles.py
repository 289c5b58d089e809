import os
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.chat.store.pickles import RECORDS, Name, Record, read_records
from pipelines.errors import StoreCorrupt, StoreUnsafe
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


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (CallOf(os.system, "true"), r"posix\.system"),
        (CallOf(eval, "1"), r"(builtins|__builtin__)\.eval"),
        (CallOf(getattr, "", "join"), r"(builtins|__builtin__)\.getattr"),
        ({"metadata": [{"deep": CallOf(os.system, "true")}]}, r"posix\.system"),
        (OrderedDict(a=1), r"collections\.OrderedDict"),
        (date(2026, 1, 1), r"datetime\.date"),
        (Path("a"), r"pathlib\.PosixPath"),
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
