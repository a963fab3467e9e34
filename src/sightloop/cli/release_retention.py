"""`sightloop release hold`, `unhold` and `prune`: what stays in the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from sightloop.cli.release_options import WORKSPACE, Json, Workspace

if TYPE_CHECKING:
    from sightloop.app.retention import Pruned
    from sightloop.distribution.store import ReleaseStore

Release = Annotated[str, typer.Argument(help="LINE@SEMVER, or LINE@ and the digest's beginning.")]


def hold(
    release: Release,
    note: Annotated[str, typer.Option(help="Why it is kept, for people.")] = "",
    workspace: Workspace = WORKSPACE,
    json_: Json = False,
) -> None:
    """Keep a release, whatever `prune` finds."""
    from sightloop.distribution.holds import Holds

    store, digest = _find(release, workspace)
    Holds(store).add(digest, note)
    _say(digest, f"{release} is held", json_, held=True)


def unhold(release: Release, workspace: Workspace = WORKSPACE, json_: Json = False) -> None:
    """End a hold; without one nothing happens."""
    from sightloop.distribution.holds import Holds

    store, digest = _find(release, workspace)
    was = Holds(store).lift(digest)
    text = f"{release} is held no more" if was else f"{release} was not held"
    _say(digest, text, json_, held=False)


def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    keep_last: Annotated[int, typer.Option(help="Highest versions of each line that stay.")] = 5,
    grace_minutes: Annotated[
        float, typer.Option(help="What was added or offered within this time stays.")
    ] = 10.0,
    workspace: Workspace = WORKSPACE,
    json_: Json = False,
) -> None:
    """Remove releases from the store that nothing names: no slot, alias, hold or recent version."""
    from sightloop._support.clock import SystemClock
    from sightloop.app.retention import prune as remove
    from sightloop.config.workspace import Workspace as Place

    done = remove(
        Place(workspace),
        keep_last=keep_last,
        grace_s=grace_minutes * 60,
        dry_run=dry_run,
        clock=SystemClock(),
    )
    if json_:
        print(json.dumps(_as_json(done, dry_run=dry_run)))
        return
    for kept in done.plan.kept:
        entry = kept.entry
        print(f"keep    {entry.line}@{entry.semver} {entry.digest[:12]}  {', '.join(kept.because)}")
    for entry in done.plan.unreachable:
        word = "removed" if entry in done.removed else "remove" if dry_run else "keep"
        print(f"{word:<7} {entry.line}@{entry.semver} {entry.digest[:12]}")
    for leftover in done.leftovers:
        print(f"{'remove' if dry_run else 'removed':<7} {leftover.path}")
    rest = f" and {len(done.leftovers)} leftovers" if done.leftovers else ""
    megabytes = f"{done.freed_bytes / 1e6:.1f} MB"
    if dry_run:
        count = len(done.plan.unreachable)
        print(f"{count} would be removed{rest}, {megabytes}; nothing was changed")
    else:
        print(f"{len(done.removed)} removed{rest}, {megabytes}")


def _find(release: str, workspace: Workspace) -> tuple[ReleaseStore, str]:
    from sightloop.config.workspace import Workspace as Place
    from sightloop.distribution.store import ReleaseStore
    from sightloop.errors import ReleaseNotFoundError

    store = ReleaseStore(Place(workspace).releases)
    line, separator, version = release.partition("@")
    if not separator:
        raise ReleaseNotFoundError(
            f"release {release}: expected LINE@SEMVER, found no @; see `sightloop release list`"
        )
    return store, store.find(line, version)


def _say(digest: str, text: str, json_: bool, *, held: bool) -> None:
    print(json.dumps({"digest": digest, "held": held}) if json_ else text)


def _as_json(done: Pruned, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "kept": [
            {**kept.entry._asdict(), "because": list(kept.because)} for kept in done.plan.kept
        ],
        "unreachable": [entry._asdict() for entry in done.plan.unreachable],
        "removed": [entry._asdict() for entry in done.removed],
        "leftovers": [
            {"kind": one.kind, "path": str(one.path), "bytes": one.bytes} for one in done.leftovers
        ],
        "bytes": done.freed_bytes,
    }
