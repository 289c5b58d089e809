"""Memory of this process that no object uses any more."""

import ctypes


def return_memory() -> None:
    """Return free memory to the system: glibc keeps what was allocated in small pieces. Elsewhere, do nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
