"""Decide which names a pickle of weights may contain, although `inert_pickles` never imports or calls any of them.

A file of weights may hold inert values that nobody needs: settings, paths, numbers of numpy, objects of the user's own
classes. A file that calls `os.system` or `eval` was written to attack its reader, and is refused. These rules tell the
two apart. They are not what keeps reading safe: the reader could not call a function even if it wanted to.
"""

import re
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import Any

from pipelines.format.pickle_machine import Name


def named(module: str, name: str) -> Name:
    """The name as Python 3 spells it; pickles of protocol 2, which torch writes, spell it as Python 2 did."""
    if (module, name) in NAME_MAPPING:
        return Name(*NAME_MAPPING[module, name])
    return Name(IMPORT_MAPPING.get(module, module), name)


def may_be_mentioned(name: Name) -> bool:
    """Whether a file may contain this name: any name of a package, but of the standard library only inert classes."""
    if name.module.split(".")[0] not in _STANDARD_LIBRARY:
        return True
    return name.module == "typing" or name.name in _INERT.get(name.module, ())


def may_be_called(name: Name, arguments: tuple[Any, ...]) -> bool:
    """Whether a file may ask for a call of this name, which then gives a placeholder.

    These are the inert classes of the standard library, names that are written as a class (`IntervalStrategy`), and
    private functions that libraries write into pickles to restore their own data (`numpy._core.multiarray.scalar`).
    """
    if name == Name("builtins", "getattr"):
        return _is_enum_member(arguments)
    if name == Name("operator", "getitem"):  # a type such as Union[int, str]
        return bool(arguments) and isinstance(arguments[0], Name) and arguments[0].module == "typing"
    if name.module.split(".")[0] in _STANDARD_LIBRARY:
        return name.name in _INERT.get(name.module, ())
    return str(name) in _RESTORING or _CLASS.fullmatch(name.name) is not None or _RESTORES.match(name.name) is not None


def _is_enum_member(arguments: tuple[Any, ...]) -> bool:
    """Whether `getattr` is asked for a member of an enum (Color.RED), which is how Python 3.11.0 to 3.11.3 wrote it."""
    if len(arguments) != 2 or not isinstance(arguments[0], Name) or not isinstance(arguments[1], str):
        return False
    owner, member = arguments
    return _CLASS.fullmatch(owner.name) is not None and re.fullmatch(r"[A-Z][A-Z0-9_]*", member) is not None


_STANDARD_LIBRARY = sys.stdlib_module_names | {"posix", "nt", "posixpath", "ntpath"}
_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
_INERT: dict[str, tuple[str, ...]] = {
    "_codecs": ("encode",),
    "argparse": ("Namespace",),
    "builtins": (
        *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range"),
        *("set", "slice", "str", "tuple", "getattr"),
    ),
    "collections": ("Counter", "OrderedDict", "UserDict", "UserList", "defaultdict", "deque"),
    "copyreg": ("_reconstructor",),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "operator": ("getitem",),
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    "re": ("_compile",),
    "types": ("SimpleNamespace",),
    "uuid": ("UUID", "SafeUUID"),
}
"""Classes of the standard library that hold plain data, and the functions that pickles need to restore them."""

_RESTORING = {
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    *(f"numpy.random._pickle.{name}_ctor" for name in ("__randomstate", "__generator", "__bit_generator")),
    "numpy.dtype",
    "numpy.ndarray",
    "torch.device",
}
_RESTORES = re.compile(r"_+(\w+_)?(rebuild|reconstruct|unpickle)(_|$)")
_CLASS = re.compile(r"_*[A-Z]\w*")
