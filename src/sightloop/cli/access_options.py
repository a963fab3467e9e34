"""Options with which commands are let in by a server, and the client made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sightloop.client.http_client import Client

TokenFile = Annotated[
    Path | None, typer.Option(help="File with a token; SIGHTLOOP_TOKEN otherwise.")
]
CaFile = Annotated[
    Path | None, typer.Option(help="Authority of the server's certificate; SIGHTLOOP_CA_FILE.")
]


def client_for(url: str, token_file: Path | None, ca_file: Path | None) -> Client:
    """A client that brings token and authority along."""
    from sightloop.client.http_client import Client
    from sightloop.config.client_access import read_client_access

    access = read_client_access(token_file, ca_file)
    return Client(url, token=access.token, ca_file=access.ca_file)
