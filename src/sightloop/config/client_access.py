"""What a command brings along to a server: token and certificate authority, resolved once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sightloop.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ClientAccess:
    """How to be let in.

    Attributes:
        token: The secret; None: none is sent.
        ca_file: PEM file of the authority that signed the server's certificate; None: the
            system's authorities.
    """

    token: str | None = field(default=None, repr=False)
    ca_file: Path | None = None


def read_client_access(
    token_file: Path | None, ca_file: Path | None, environment: Mapping[str, str] | None = None
) -> ClientAccess:
    """Take the token from the file, else from SIGHTLOOP_TOKEN; the authority likewise.

    Args:
        token_file: Holds the secret and nothing else.
        ca_file: As in `ClientAccess`; else SIGHTLOOP_CA_FILE.
        environment: Stands for the process's environment in tests.

    Raises:
        ConfigError: The file cannot be read or is empty.
    """
    found = os.environ if environment is None else environment
    token = found.get("SIGHTLOOP_TOKEN") or None
    if token_file is not None:
        try:
            token = token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"token file {token_file}: expected a file that can be read, found: {error}",
                "token_file_unreadable",
            ) from error
    if token is not None and (not token.isascii() or len(token.split()) != 1):
        raise ConfigError(
            f"token of {token_file or 'SIGHTLOOP_TOKEN'}: expected one word, the secret that "
            "`sightloop token create` printed, found something else",
            "token_file_unreadable",
        )
    authority = ca_file or (
        Path(found["SIGHTLOOP_CA_FILE"]) if "SIGHTLOOP_CA_FILE" in found else None
    )
    return ClientAccess(token, authority)
