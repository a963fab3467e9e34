"""`sightloop audit`: who ordered what of a server, and how it ended."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from sightloop.cli.access_options import CaFile, TokenFile, client_for

EXIT_BROKEN = 3
_UNNAMED = {"rollback": "previous"}
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def audit(
    url: Annotated[
        str | None, typer.Option(help="Ask this server; else the workspace's file is read.")
    ] = None,
    workspace: Annotated[Path, typer.Option(help="The server's workspace.")] = Path(".sightloop"),
    last: Annotated[int, typer.Option(help="How many of the newest.", min=0, max=10_000)] = 100,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the newest orders and check the whole chain of entries; exit code 3 if it is broken."""
    if url is not None:
        with client_for(url, token_file, ca_file) as client:
            found = client.audit(last=last)
    else:
        found = _from_workspace(workspace, last)
    if json_:
        print(json.dumps(found))
    else:
        _print(found)
    if not found["intact"]:
        raise typer.Exit(EXIT_BROKEN)


def _from_workspace(workspace: Path, last: int) -> dict[str, Any]:
    from sightloop._support.database import open_sqlite
    from sightloop.config.workspace import Workspace
    from sightloop.errors import WorkspaceError
    from sightloop.serving.audit import AuditStore, audit_as_dict

    database = Workspace(workspace).serving_database
    if not database.is_file():
        raise WorkspaceError(
            f"workspace {workspace}: expected the database of a server, found no {database.name}; "
            "name the server's workspace, or ask the server with --url"
        )
    engine = open_sqlite(database)
    try:
        return audit_as_dict(AuditStore(engine).entries(), last=last)
    finally:
        engine.dispose()


def _print(found: dict[str, Any]) -> None:
    for entry in found["entries"]:
        target = entry["release"] or entry["target"] or _UNNAMED.get(entry["action"], "-")
        role = f" ({entry['role']})" if entry["role"] else ""
        who = f"{entry['who']}{role} from {entry['address']}"
        action = f"{entry['action']} {entry['line']}"
        print(f"{entry['at']}  {who:<36}{action:<20}{entry['outcome']:<20}{_shown(target)}")
    if found["intact"]:
        print(f"{found['length']} entries, the chain holds; newest {found['newest'][:16]}")
    else:
        print(f"BROKEN: entry {found['first_fault']} does not follow from those before it")


def _shown(text: str) -> str:
    """An order's words on a terminal: without what would steer it."""
    short = _DIGEST.sub(r"\1", text)
    return "".join(char if char.isprintable() else "?" for char in short[:60])
