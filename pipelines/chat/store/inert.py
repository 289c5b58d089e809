"""Which objects in LangChain's metadata are inert: values that hold data and do nothing, such as dates.

A store is imported for its texts and sources, so a value of another class is not needed. It becomes a placeholder, an
`Inert`, and its class is neither imported nor called. So safety does not depend on this list: it only decides which
files are refused because they ask for something that no metadata needs.
"""

import builtins
import sys
from _compat_pickle import IMPORT_MAPPING
from typing import Any

from pipelines.format.pickle_machine import Inert, Name

_ERRORS = " ".join(
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)
)
_BUILTINS = "Ellipsis bool bytearray bytes complex dict float frozenset int list object range set slice str tuple"
_NUMPY_ARRAYS = "_reconstruct scalar"
_TIMES = "Date DateTime Duration FixedTimezone Interval Time Timezone"
_VALUES = {
    "builtins": f"{_BUILTINS} {_ERRORS}",
    "__builtin__": f"{_BUILTINS} long unicode xrange",  # Python 2's names, which pickle's protocols 0 to 2 use
    "_codecs": "encode",  # how protocol 2 writes bytes
    "array": "_array_reconstructor array",
    "collections": "ChainMap Counter OrderedDict UserDict UserList UserString defaultdict deque",
    "datetime": "date datetime time timedelta timezone",
    "_pydatetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "_pydecimal": "Decimal",
    "fractions": "Fraction",
    "http": "HTTPMethod HTTPStatus",
    "re": "_compile",  # how a pattern is pickled
    "ipaddress": "IPv4Address IPv4Interface IPv4Network IPv6Address IPv6Interface IPv6Network",
    **dict.fromkeys(("pathlib", "pathlib._local"), "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath"),
    "time": "struct_time",
    "uuid": "SafeUUID UUID",
    "zoneinfo": "ZoneInfo ZoneInfo._unpickle",
    "numpy": (
        "bool bool_ bytes_ complex64 complex128 datetime64 dtype float16 float32 float64 int8 int16 int32 int64 matrix "
        "ndarray object_ recarray record str_ timedelta64 uint8 uint16 uint32 uint64 void"
    ),
    **dict.fromkeys(("numpy.core.multiarray", "numpy._core.multiarray"), _NUMPY_ARRAYS),
    **dict.fromkeys(("numpy.core.numeric", "numpy._core.numeric"), "_frombuffer"),
    "numpy.ma.core": "MaskedArray _mareconstruct",
    "numpy.dtypes": "StringDType",
    "pandas._libs.missing": "NA NAType",
    "pandas._libs.tslibs.nattype": "NaTType _nat_unpickle",
    "pandas._libs.tslibs.period": "Period",
    "pandas._libs.tslibs.timedeltas": "Timedelta _timedelta_unpickle",
    "pandas._libs.tslibs.timestamps": "Timestamp _unpickle_timestamp",
    "bson.decimal128": "Decimal128",
    "bson.objectid": "ObjectId",
    "bson.tz_util": "FixedOffset",
    "dateutil.tz.tz": "tzfile tzlocal tzoffset tzutc",
    "pendulum.date": _TIMES,
    "pendulum.datetime": _TIMES,
    "pendulum.duration": _TIMES,
    "pendulum.time": _TIMES,
    "pendulum.tz.timezone": _TIMES,
    "pydantic.types": "SecretBytes SecretStr",
    "pydantic.networks": "AnyHttpUrl AnyUrl FileUrl HttpUrl",
    "pydantic_core._pydantic_core": "MultiHostUrl TzInfo Url",
    "pytz": "_UTC _p",
}
VALUES = frozenset(Name(module, name) for module, names in _VALUES.items() for name in names.split())
"""Classes of plain values, and functions that make such values from plain arguments."""

LOOKUP = Name("builtins", "getattr"), Name("__builtin__", "getattr")
_ZONE = Name("zoneinfo", "ZoneInfo")
_OLD_MODULES = "asynchat asyncore cgi crypt distutils imp nntplib pipes smtpd telnetlib"  # of older versions of Python
_LISTED = {
    *sys.stdlib_module_names,
    *_OLD_MODULES.split(),
    *(value.module.split(".")[0] for value in VALUES),
    *(module.split(".")[0] for module in IMPORT_MAPPING),  # Python 2's modules, as protocols 0 to 2 spell them
}


def looked_up(arguments: tuple[Any, ...]) -> Name | None:
    """What a call of getattr finds, if that is how Python pickles a time zone; otherwise None."""
    if len(arguments) == 2 and arguments[0] == _ZONE and arguments[1] == "_unpickle":
        return Name("zoneinfo", "ZoneInfo._unpickle")
    return None


def is_listed(kind: Name) -> bool:
    """Whether the name is in Python's standard library or in a package whose values `VALUES` lists."""
    package = kind.module.split(".")[0]
    return package in _LISTED or (package.startswith("__") and package not in ("__main__", "__mp_main__"))


def may_be_member(kind: Name) -> bool:
    """Whether this may be an enumeration: a class, by its spelling, of the program that made the store."""
    parts = kind.name.split(".")
    return not is_listed(kind) and all(part.isidentifier() and part[0].isupper() for part in parts)


def makes_member(kind: Name, arguments: tuple[Any, ...]) -> bool:
    """Whether this is how Python pickles the member of an enumeration: its class, called with nothing but its value."""
    if len(arguments) != 1 or not may_be_member(kind):
        return False
    (value,) = arguments
    parts = value if isinstance(value, tuple) else (value,)
    return all(part is None or isinstance(part, str | int | float | bytes) for part in parts)


def is_langchain_model(kind: Name) -> bool:
    """Whether the name is one of a class of LangChain. Its models are created empty and then given their fields."""
    package = kind.module.split(".")[0]
    return (package == "langchain" or package.startswith("langchain_")) and may_be_member(kind)


def hides_pickle(values: Any) -> bool:
    """Whether these are the data of a numpy object given as bytes: numpy would unpickle the bytes once more."""
    return (
        isinstance(values, tuple)
        and any(isinstance(value, bytes | bytearray | str) for value in values)
        and any(map(_is_object_type, values))
    )


def _is_object_type(value: Any) -> bool:
    if not isinstance(value, Inert) or value.kind != Name("numpy", "dtype") or not value.arguments:
        return False
    code = value.arguments[0]
    return not isinstance(code, str) or code.lstrip("<>|=").startswith("O") or code == "object"
