"""The workspace's tokens: a file of names, roles and salted digests; no secret is in it.

Written whole or not at all, readable by its owner alone. A server looks at most once a second
whether it has changed, so that a revoked token is refused without a restart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sightloop._support.clock import Clock
from sightloop._support.files import write_bytes_atomic
from sightloop.errors import ConfigError
from sightloop.serving.access import Role, Token

_LOOK_AGAIN_S: Final = 1.0
RESERVED: Final = frozenset({"local", "environment"})
"""What the audit log calls callers that no token of the file names."""
_Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{32,64}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    role: Role
    salt: _Hex
    digest: _Hex
    made_at: str


_ENTRIES: Final = TypeAdapter(list[_Entry])


def read_tokens(path: Path) -> tuple[Token, ...]:
    """All tokens of a file; none without one.

    Raises:
        ConfigError: The file is not what `sightloop token` writes.
    """
    try:
        entries = _ENTRIES.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"tokens {path}: expected what `sightloop token create` writes, found: "
            f"{str(error).splitlines()[0]}; make the tokens again",
            "tokens_unreadable",
        ) from error
    return tuple(Token(**entry.model_dump()) for entry in entries)


def add_token(path: Path, token: Token) -> None:
    """Add one.

    Raises:
        ConfigError: There is one of this name, or the file cannot be read.
    """
    if token.name in RESERVED:
        raise ConfigError(
            f"token {token.name}: expected a name of its own, found one that the audit log gives "
            "to callers that no token of the file names; choose another",
            "token_name_taken",
        )
    tokens = read_tokens(path)
    if token.name in {known.name for known in tokens}:
        raise ConfigError(
            f"token {token.name}: expected a new name, found one that is there since "
            f"{next(t.made_at for t in tokens if t.name == token.name)}; revoke it first "
            f"(`sightloop token revoke {token.name}`) or choose another",
            "token_name_taken",
        )
    _write(path, (*tokens, token))


def revoke_token(path: Path, name: str) -> None:
    """Take one away; running servers refuse it within a second.

    Raises:
        ConfigError: There is none of this name, or the file cannot be read.
    """
    tokens = read_tokens(path)
    kept = tuple(token for token in tokens if token.name != name)
    if len(kept) == len(tokens):
        names = ", ".join(token.name for token in tokens) or "none"
        raise ConfigError(
            f"token {name}: expected one of {names} in {path}; see `sightloop token list`",
            "token_not_found",
        )
    _write(path, kept)


def _write(path: Path, tokens: Sequence[Token]) -> None:
    text = json.dumps([asdict(token) for token in tokens], indent=2)
    write_bytes_atomic(path, text.encode() + b"\n", mode=0o600)


class TokenFile:
    """The tokens of a file as they are now, and some that are not in it."""

    def __init__(self, path: Path, *, clock: Clock, beside: tuple[Token, ...] = ()) -> None:
        """Read the file.

        Raises:
            ConfigError: It is there and not what `sightloop token` writes.
        """
        self._path = path
        self._clock = clock
        self._beside = beside
        self._stamp = self._look()
        self._looked_s = clock.monotonic_s()
        self._tokens = (*read_tokens(path), *beside)
        self._asks = self._stamp is not None or bool(beside)

    def tokens(self) -> tuple[Token, ...] | None:
        """All that are valid; None where there never was a file nor another token.

        A file that became unreadable, holds none any more or has gone is not no file: what has once
        asked goes on asking until the server starts again.
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s >= _LOOK_AGAIN_S:
            self._looked_s = now_s
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._tokens = (*self._read_or_none(), *self._beside)
        self._asks = self._asks or self._stamp is not None
        return self._tokens if self._asks else None

    def _read_or_none(self) -> tuple[Token, ...]:
        try:
            return read_tokens(self._path)
        except ConfigError:
            return ()

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
