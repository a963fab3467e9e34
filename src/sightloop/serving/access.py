"""Who may do what: roles, tokens, and the one decision that every transport asks for.

A token is 256 random bits, so its salted SHA-256 cannot be searched for. It needs no slow hash,
which would only let an attacker keep the server busy. The secret is shown once and stored nowhere.
Comparisons take the same time whatever they find. Pure: files, clocks and sockets are elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sightloop.errors import ConfigError, ForbiddenError, UnauthenticatedError

_PREFIX: Final = "slt_"
_SECRET_BYTES: Final = 32
_SALT_BYTES: Final = 16
SECRET_CHARACTERS_MIN: Final = 32
"""Of a token that the operator brings along; ours have 47."""
_SECRET_CHARACTERS_MAX: Final = 256
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
FORBIDDEN_PARAMETERS: Final = frozenset({"token", "access_token", "api_key", "authorization"})
"""Names of query parameters that would carry a secret into logs and histories."""


class Role(StrEnum):
    """What a token is for; each may do what those before it may."""

    DETECT = "detect"
    """Send frames, where the data plane asks for a token at all."""
    READ = "read"
    """Look: status, history, metrics, audit."""
    OPERATE = "operate"
    """Order: updates, rollbacks, loads."""

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: The token's name; `local` where nobody is asked for one, `?` of a stranger.
        role: What they may do; None of a stranger.
        address: Where the call came from.
    """

    name: str
    role: Role | None
    address: str


@dataclass(frozen=True, slots=True)
class Order:
    """What a call to the admin plane would do.

    Attributes:
        action: `update`, `rollback` or `unload`.
        line: The model line that it names; nobody has looked whether there is one.
    """

    action: str
    line: str


def local_caller(address: str) -> Caller:
    """Somebody at an open door: the operator of this very machine."""
    return Caller("local", Role.OPERATE, address)


def stranger(address: str) -> Caller:
    """Somebody without a token that is known here."""
    return Caller("?", None, address)


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token: everything but its secret.

    Attributes:
        name: What the audit log calls its holder.
        role: What it may do.
        salt: Hex of random bytes.
        digest: Hex SHA-256 of salt and secret.
        made_at: UTC time as text.
    """

    name: str
    role: Role
    salt: str
    digest: str
    made_at: str

    def fits(self, secret: str) -> bool:
        """Whether `secret` is this token's; in constant time."""
        return hmac.compare_digest(self.digest, _digest(self.salt, secret))


def new_secret() -> str:
    """A token's secret: 256 random bits, in letters that fit into a header."""
    return _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def token_of(secret: str, *, name: str, role: Role, made_at: str) -> Token:
    """What to store of a secret.

    Raises:
        ConfigError: The name cannot name a token.
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigError(
            f"token name {name!r}: expected 1 to 64 of a-z, 0-9, dot, dash and underscore",
            "token_name_invalid",
        )
    salt = secrets.token_hex(_SALT_BYTES)
    return Token(name, role, salt, _digest(salt, secret), made_at)


def authorise(header: str | None, needed: Role, *, tokens: Iterable[Token], address: str) -> Caller:
    """Decide whether a call may go on.

    Args:
        header: The value of `Authorization`, if any.
        needed: What the call does.
        tokens: All that are valid now.
        address: Where the call comes from.

    Raises:
        UnauthenticatedError: No token, or none that is known here.
        ForbiddenError: A token whose role does not cover it.
    """
    secret = _secret_of(header)
    known = [token for token in tokens if token.fits(secret)]  # all are looked at
    if not known:
        raise UnauthenticatedError(
            "token: expected one that is valid here, found another; see `sightloop token list` on "
            "the server's machine",
            "token_unknown",
        )
    token = known[0]
    if not token.role.covers(needed):
        raise ForbiddenError(
            f"token {token.name}: expected the role {needed} for this call, found {token.role}; "
            f"make another with `sightloop token create NAME --role {needed}`",
            "role_too_low",
        )
    return Caller(token.name, token.role, address)


def refuse_query(parameters: Iterable[str]) -> None:
    """Refuse a call that carries a secret in its address.

    Raises:
        UnauthenticatedError: It does.
    """
    found = FORBIDDEN_PARAMETERS & {name.lower() for name in parameters}
    if found:
        raise UnauthenticatedError(
            f"address: expected no parameter {sorted(found)[0]}, since addresses end up in logs; "
            "send the header `Authorization: Bearer TOKEN`, and make a new token",
            "token_in_query",
        )


def _secret_of(header: str | None) -> str:
    if not header:
        raise UnauthenticatedError(
            "token: expected a header `Authorization: Bearer TOKEN`, found none; name one with "
            "--token-file or SIGHTLOOP_TOKEN",
            "token_missing",
        )
    scheme, _, secret = header.partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not 0 < len(secret) <= _SECRET_CHARACTERS_MAX:
        raise UnauthenticatedError(
            "token: expected a header `Authorization: Bearer TOKEN`, found another form of it",
            "token_malformed",
        )
    return secret


def _digest(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()
