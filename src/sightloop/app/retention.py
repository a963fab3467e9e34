"""Remove releases that nothing names any more from a workspace's store, and what they leave behind.

Invariant: slots, holds and aliases are all read before the first removal, and slots again before
each; one that cannot be read ends the whole. A release offered a moment ago may be on its way
into a slot and stays. Engines and kept answers go when the store no longer has their release and
no slot or hold names it; they can be made again. MLflow's own copies are left alone: its garbage
collector deletes what a live alias points to, so nothing here calls it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sightloop._support.clock import Clock
from sightloop.app.release_roles import Named, held, merged, registry_aliases, slot_roles
from sightloop.config.workspace import Workspace
from sightloop.distribution.retention import RetentionPlan, plan_retention
from sightloop.distribution.store import ReleaseStore, StoreEntry
from sightloop.errors import ConfigError
from sightloop.gates.kept_answers import find_answers
from sightloop.release.bundle import read_bundle
from sightloop.runtime.engines import find_engines, remove_engine


@dataclass(frozen=True, slots=True)
class Leftover:
    """An engine's folder or a file of kept answers.

    Attributes:
        kind: Which of them.
        path: Where it lies, from the workspace.
    """

    kind: Literal["engine", "answers"]
    path: Path
    bytes: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a run of retention found and did.

    Attributes:
        plan: What stays and why, and what nothing names.
        removed: What is gone now; empty for a dry run.
        leftovers: What is gone, or would go, of releases that are not in the store.
        freed_bytes: Size of what nothing names, with the leftovers.
    """

    plan: RetentionPlan
    removed: tuple[StoreEntry, ...]
    leftovers: tuple[Leftover, ...]
    freed_bytes: int


def prune(
    workspace: Workspace, *, keep_last: int, grace_s: float, dry_run: bool, clock: Clock
) -> Pruned:
    """Remove what is unreachable.

    Args:
        workspace: Whose store.
        keep_last: So many highest versions of every line stay in any case.
        grace_s: What was added or offered within this time stays.
        dry_run: Only say what would go.
        clock: Held against the time of the store's folders.

    Raises:
        ConfigError: A number below zero.
        MissingExtraError: There is a registry, and MLflow is not installed: nothing is removed.
        RegistryError: The registry cannot be read: nothing is removed.
    """
    if keep_last < 0 or grace_s < 0:
        raise ConfigError(
            f"prune: expected --keep-last and --grace-minutes of 0 or more, found {keep_last} and "
            f"{grace_s / 60:g}"
        )
    store = ReleaseStore(workspace.releases)
    entries = store.entries()
    named = merged(
        slot_roles(workspace),
        held(workspace),
        registry_aliases(workspace, (entry.line for entry in entries)),
        _offered_lately(store, entries, now_s=clock.wall_s(), grace_s=grace_s),
    )
    plan = plan_retention(entries, named, keep_last=keep_last)
    sizes = {entry: _size_bytes(store, entry) for entry in plan.unreachable}
    removed = () if dry_run else _remove(workspace, store, plan.unreachable)
    found = _leftovers(workspace, gone=plan.unreachable if dry_run else ())
    leftovers = tuple(one for one in found if dry_run or _remove_leftover(workspace.root, one))
    freed_bytes = sum(sizes.values()) + sum(one.bytes for one in leftovers)
    return Pruned(plan, removed, leftovers, freed_bytes)


def _remove(
    workspace: Workspace, store: ReleaseStore, entries: tuple[StoreEntry, ...]
) -> tuple[StoreEntry, ...]:
    removed = []
    for entry in entries:
        # A server may have switched to it meanwhile.
        if entry.digest not in merged(slot_roles(workspace), held(workspace)):
            store.remove(entry.digest)
            removed.append(entry)
    return tuple(removed)


def _leftovers(workspace: Workspace, *, gone: Iterable[StoreEntry]) -> tuple[Leftover, ...]:
    """What lies there of releases that the store has not; those of `gone` count as removed.

    The store is read last: a release is there before an engine or an answer of it is.
    """
    lying: list[tuple[Literal["engine", "answers"], Path, str]] = [
        *(("engine", path, digest) for path, digest in find_engines(workspace.engines).items()),
        *(("answers", path, digest) for path, digest in find_answers(workspace.answers).items()),
    ]
    wanted = {*merged(slot_roles(workspace), held(workspace))}
    wanted |= ReleaseStore(workspace.releases).digests() - {entry.digest for entry in gone}
    return tuple(
        Leftover(kind, path.relative_to(workspace.root), _tree_bytes(path))
        for kind, path, digest in lying
        if not any(known.startswith(digest) for known in wanted)
    )


def _remove_leftover(root: Path, leftover: Leftover) -> bool:
    path = root / leftover.path
    if leftover.kind == "engine":
        return remove_engine(path)
    path.unlink(missing_ok=True)
    return True


def _tree_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())


def _offered_lately(
    store: ReleaseStore, entries: tuple[StoreEntry, ...], *, now_s: float, grace_s: float
) -> Named:
    return {
        entry.digest: (f"offered less than {grace_s / 60:g} minutes ago",)
        for entry in entries
        if now_s - store.path_of(entry.digest).stat().st_mtime < grace_s
    }


def _size_bytes(store: ReleaseStore, entry: StoreEntry) -> int:
    files = read_bundle(store.path_of(entry.digest)).manifest.files
    return sum(file.bytes for file in files.values())
