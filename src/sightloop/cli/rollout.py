"""`sightloop rollout`: order and look at updates of a running server."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightloop.cli.access_options import CaFile, TokenFile, client_for

if TYPE_CHECKING:
    from sightloop.client.http_client import Client

app = typer.Typer(help="Replace the release of a running server, or go back.", no_args_is_help=True)

Line = Annotated[str, typer.Argument(help="Model line.")]
Url = Annotated[str, typer.Option(help="The server.")]
Workspace = Annotated[Path, typer.Option(help="Folder of everything local.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_URL = "http://127.0.0.1:8080"
_WORKSPACE = Path(".sightloop")
EXIT_REFUSED = 3
_LOOK_EVERY_S = 0.25


@app.command()
def start(
    line: Line,
    release: Annotated[str, typer.Argument(help="Bundle's folder, semver or digest.")],
    url: Url = _URL,
    workspace: Workspace = _WORKSPACE,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    json_: Json = False,
) -> None:
    """Prove RELEASE beside the running one and switch to it if every gate passes."""
    from sightloop.app.locate import locate_release
    from sightloop.config.workspace import Workspace as Place

    bundle = locate_release(Place(workspace.resolve()), release, line=line)
    access = partial(client_for, url, token_file, ca_file)
    with access() as client:
        with said_to_go_on(line), _state_shown(line, access):
            outcome = client.update(line, bundle=bundle)
        _show(outcome, json_)
        _end(client, line, outcome, workspace)


@app.command()
def rollback(
    line: Line,
    to: Annotated[
        str | None,
        typer.Option(help="Digest, its beginning, or semver of the history; else the previous."),
    ] = None,
    url: Url = _URL,
    workspace: Workspace = _WORKSPACE,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    json_: Json = False,
) -> None:
    """Return to the previous release at once; a second rollback undoes the first."""
    access = partial(client_for, url, token_file, ca_file)
    with access() as client:
        digest = None if to is None else digest_in(client.history(line), to)
        with said_to_go_on(line), _state_shown(line, access):
            outcome = client.rollback(line, digest=digest)
        _show(outcome, json_)
        _end(client, line, outcome, workspace)


@app.command()
def status(
    line: Line,
    url: Url = _URL,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    json_: Json = False,
) -> None:
    """Show who serves, who is kept for rollback, who is on trial."""
    with client_for(url, token_file, ca_file) as client:
        value = client.status(line)
    if json_:
        print(json.dumps(value))
        return
    print(f"line {line}{'  DEGRADED' if value['degraded'] else ''}")
    for role in ("champion", "previous", "candidate"):
        print(f"  {role:<10}{_held(value[role])}")
    print(f"  {'standby':<10}{'pid ' + str(value['standby']['pid']) if value['standby'] else '-'}")


@app.command()
def history(
    line: Line,
    url: Url = _URL,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    json_: Json = False,
) -> None:
    """Show every switch and refusal, oldest first."""
    with client_for(url, token_file, ca_file) as client:
        events = client.history(line)
    if json_:
        print(json.dumps(events))
        return
    for event in events:
        release = event["release"]
        name = f"{release['semver']} {release['digest'][:12]}" if release else "-"
        print(f"{event['at']}  {event['action']:<10}{name:<24}{event['reason']}")


def digest_in(events: list[dict[str, Any]], text: str) -> str:
    """The one digest of a history that `text` names: a semver, or 6 and more of its digits.

    Raises:
        ReleaseNotFoundError: None, or several (`release_ambiguous`).
    """
    from sightloop.errors import ReleaseNotFoundError

    releases = [event["release"] for event in events if event["release"]]
    found: dict[str, str] = {
        release["digest"]: release["semver"]
        for release in releases
        if release["semver"] == text or (len(text) >= 6 and release["digest"].startswith(text))
    }
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise ReleaseNotFoundError(
            f"release {text}: expected a semver of the line's history, or 6 or more digits of a "
            "digest, found none; see `sightloop rollout history`"
        )
    raise ReleaseNotFoundError(
        f"release {text}: names {len(found)} of the line's history: "
        f"{', '.join(f'{semver} ({digest[:12]})' for digest, semver in found.items())}; name more "
        "digits",
        "release_ambiguous",
    )


@contextlib.contextmanager
def said_to_go_on(line: str) -> Iterator[None]:
    """Ctrl-C ends the waiting, not the order: say so."""
    try:
        yield
    except KeyboardInterrupt:
        print(
            f"the server goes on with the order; see `sightloop rollout status {line}`",
            file=sys.stderr,
        )
        raise


@contextlib.contextmanager
def _state_shown(line: str, access: Callable[[], Client]) -> Iterator[None]:
    """On a terminal, say what the candidate is at while the block waits."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{line}: ordered") as status, access() as second:

        def show() -> None:
            candidate = second.status(line)["candidate"]
            if candidate is not None:
                status.update(f"{line}: {candidate['state'].lower()}")

        with repeated(show):
            yield


@contextlib.contextmanager
def repeated(call: Callable[[], None], *, every_s: float = _LOOK_EVERY_S) -> Iterator[None]:
    """Call `call` again and again in a thread while the block works; what it raises ends nothing.

    The block stays on this thread, so that ctrl-C ends it at once.
    """
    from sightloop.errors import SightloopError

    ended = threading.Event()

    def look() -> None:
        while not ended.wait(every_s):
            with contextlib.suppress(SightloopError):
                call()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _held(held: dict[str, Any] | None) -> str:
    """One role in words: its release and the processes that hold it."""
    if held is None:
        return "-"
    release = held["release"]
    name = f"{release['semver']} ({release['digest'][:12]})" if release else "(not read yet)"
    workers = ", ".join(
        f"{worker['state']} pid {worker['pid']}{'' if worker['alive'] else ' DEAD'}"
        for worker in held.get("workers", [held])
    )
    return f"{name}  {workers}"


def _show(outcome: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(outcome), flush=True)
    else:
        _print_outcome(outcome)


def _end(client: Client, line: str, outcome: dict[str, Any], workspace: Path) -> None:
    """Exit 3 after a refusal; let the workspace's registry follow otherwise."""
    if outcome["state"] != "ACTIVE":
        raise typer.Exit(EXIT_REFUSED)
    if not workspace.is_dir():
        return
    from sightloop.app.registry_roles import record_roles
    from sightloop.config.workspace import open_workspace

    said = record_roles(open_workspace(workspace), client.status(line))
    if said is not None:
        print(said, file=sys.stderr)


def _print_outcome(outcome: dict[str, Any]) -> None:
    for verdict in outcome["verdicts"]:
        print(f"  {verdict['gate']:<10} {verdict['outcome']:<13}{verdict['message']}")
    release = outcome["release"]
    name = f"{release['semver']} ({release['digest'][:12]})" if release else "the candidate"
    if outcome["state"] == "ACTIVE":
        print(f"{name} serves; {outcome['action']} took {outcome['seconds']:.3f} s")
    else:
        refused = outcome["refused"]
        print(f"{name} REFUSED by gate {refused['gate']} [{refused['reason']}]; nothing changed")
    if outcome["warning"]:
        print(f"warning: {outcome['warning']}")
