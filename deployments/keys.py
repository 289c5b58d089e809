"""API keys: what each one may do, and the file that lists them.

A file of keys is TOML, with one table for each key:

    [[keys]]
    name = "page"
    sha256 = "<64 hexadecimal digits>"
    scopes = ["infer", "upload"]
    requests_per_minute = 60     # optional, as is bytes_per_minute

Only hashes are stored. A key of `new_secret` has 256 random bits, so its hash can have neither salt nor repetitions:
nobody can find the key by trying.
"""

import hashlib
import secrets
import tomllib
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from pipelines.errors import ConfigError

Scope = Literal["infer", "upload", "chat", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class Key(BaseModel):
    """One key, without its secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w.-]{1,64}$", description="Tells the keys apart.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the secret, in hexadecimal digits.")
    scopes: frozenset[Scope] = Field(min_length=1, description="The routes that the key opens.")
    requests_per_minute: int | None = Field(None, ge=1, description="Most requests a minute; null: any number.")
    bytes_per_minute: int | None = Field(
        None, ge=1, description="Most bytes of the requests' bodies a minute; null: any number."
    )


class KeyList(BaseModel):
    """The content of a file of keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for field in ("name", "sha256"):
            if len({getattr(key, field) for key in self.keys}) < len(self.keys):
                raise ValueError(f"two keys have the same {field}")
        return self


def new_secret() -> SecretStr:
    """A new random key."""
    return SecretStr(secrets.token_urlsafe(32))


def hash_of(secret: SecretStr) -> str:
    """The hash by which a key is known."""
    return hashlib.sha256(secret.get_secret_value().encode()).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file. Raises ConfigError, which names the places of faults but repeats no value of the file."""
    try:
        return KeyList.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).keys
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise ConfigError(f"{path}: {'; '.join(faults)}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
