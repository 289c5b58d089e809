"""The keys that a server accepts now: those of its settings, of the environment, and of a file that may change."""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import SecretStr

from deployments.keys import SCOPES, Key, hash_of, read_keys
from deployments.settings import AccessSettings
from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import ConfigError

logger = logging.getLogger("ray.serve")

FILE_VARIABLE = "MUNJANG_KEYS_FILE"
KEY_VARIABLE = "MUNJANG_API_KEY"
LEAST_CHARACTERS = 16
CHECK_EVERY_S = 1.0

State = tuple[int, ...] | None


class ValidKeys:
    """Finds keys. The file, if there is one, is read again when it has changed, which is checked once a second.

    If a changed file can't be read, the keys of the last readable one stay valid.
    """

    def __init__(
        self, fixed: Sequence[Key], file: Path | None = None, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises ConfigError if the file can't be read."""
        self._fixed = tuple(fixed)
        self._file = file
        self._clock_s = clock_s
        self._checked_s = clock_s()
        self._state = _state(file) if file else None
        self._listed = read_keys(file) if file else ()

    def find(self, secret: bytes) -> Key | None:
        """The key with this secret. All keys are compared, each in constant time."""
        self._refresh()
        sha256 = hashlib.sha256(secret).hexdigest()
        found = [key for key in (*self._fixed, *self._listed) if hmac.compare_digest(key.sha256, sha256)]
        return found[0] if found else None

    def _refresh(self) -> None:
        now_s = self._clock_s()
        if self._file is None or now_s - self._checked_s < CHECK_EVERY_S:
            return
        self._checked_s = now_s
        state = _state(self._file)
        if state == self._state:
            return
        self._state = state
        try:
            self._listed = read_keys(self._file)
        except ConfigError as error:
            logger.error("the keys of this file before its change stay valid: %s", error)


def _state(file: Path) -> State:
    """Inode, times of change of content and mode, and size, which differ after a change; None if there is no file."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def valid_keys(access: AccessSettings, environment: Mapping[str, str]) -> ValidKeys | None:
    """The keys of the settings and the environment; None if neither names any, or a file of them.

    Raises ConfigError for a file that can't be read and for a short key in the environment.
    """
    fixed = [*access.keys, *_environment_key(environment)]
    file = keys_file(access, environment)
    return ValidKeys(fixed, file) if fixed or file else None


def keys_file(access: AccessSettings, environment: Mapping[str, str]) -> Path | None:
    """The file of keys, if one is named. A relative path starts at the root of the repository."""
    named = environment.get(FILE_VARIABLE) if access.keys_file is None else access.keys_file
    return None if named is None else ROOT / Path(named).expanduser()


def _environment_key(environment: Mapping[str, str]) -> list[Key]:
    """The one key of the environment, with all scopes. An empty variable is refused: it was meant to be a key."""
    if KEY_VARIABLE not in environment:
        return []
    secret = SecretStr(environment[KEY_VARIABLE])
    if len(secret) < LEAST_CHARACTERS:
        raise ConfigError(f"{KEY_VARIABLE} has fewer than {LEAST_CHARACTERS} characters")
    return [Key(name=KEY_VARIABLE, sha256=hash_of(secret), scopes=frozenset(SCOPES))]
