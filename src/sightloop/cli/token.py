"""`sightloop token`: who may look at a server and who may order."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make, list and revoke tokens of a server.", no_args_is_help=True)

Workspace = Annotated[Path, typer.Option(help="The server's workspace.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_WORKSPACE = Path(".sightloop")


class RoleName(StrEnum):
    """What a token may be for."""

    DETECT = "detect"
    READ = "read"
    OPERATE = "operate"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the audit log calls its holder.")],
    role: Annotated[RoleName, typer.Option(help="What it may do.")] = RoleName.READ,
    workspace: Workspace = _WORKSPACE,
    json_: Json = False,
) -> None:
    """Make a token and print its secret once; the workspace keeps a salted hash alone."""
    from sightloop._support.clock import SystemClock, utc_text
    from sightloop.config.workspace import open_workspace
    from sightloop.serving.access import Role, new_secret, token_of
    from sightloop.serving.token_file import add_token

    place = open_workspace(workspace)
    secret = new_secret()
    made_at = utc_text(SystemClock().wall_s())
    add_token(place.tokens, token_of(secret, name=name, role=Role(role.value), made_at=made_at))
    if json_:
        print(json.dumps({"name": name, "role": role.value, "token": secret}))
    else:
        print(secret)


@app.command("list")
def list_(workspace: Workspace = _WORKSPACE, json_: Json = False) -> None:
    """Show names and roles; no secret is kept to be shown."""
    from sightloop.config.workspace import Workspace as Place
    from sightloop.serving.token_file import read_tokens

    tokens = read_tokens(Place(workspace).tokens)
    if json_:
        rows = [{"name": t.name, "role": t.role.value, "made_at": t.made_at} for t in tokens]
        print(json.dumps({"tokens": rows}))
        return
    if not tokens:
        print("no tokens; make one with `sightloop token create NAME --role ROLE`")
    for token in tokens:
        print(f"{token.name:<24}{token.role.value:<10}{token.made_at}")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The token's name.")],
    workspace: Workspace = _WORKSPACE,
    json_: Json = False,
) -> None:
    """Take a token away; a running server refuses it within a second."""
    from sightloop.config.workspace import open_workspace
    from sightloop.serving.token_file import revoke_token

    revoke_token(open_workspace(workspace).tokens, name)
    print(json.dumps({"revoked": name}) if json_ else f"token {name} is revoked")
