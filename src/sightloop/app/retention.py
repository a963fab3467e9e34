"""Remove releases that nothing names any more from a workspace's store.

Invariant: slots, holds and aliases are all read before the first removal, and slots again before
each; one that cannot be read ends the whole. A release offered a moment ago may be on its way
into a slot and stays. MLflow's own copies are left alone: its garbage collector deletes what a
live alias points to, so nothing here calls it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sightloop._support.clock import Clock
from sightloop.app.release_roles import Named, held, merged, registry_aliases, slot_roles
from sightloop.config.workspace import Workspace
from sightloop.distribution.retention import RetentionPlan, plan_retention
from sightloop.distribution.store import ReleaseStore, StoreEntry
from sightloop.errors import ConfigError
from sightloop.release.bundle import read_bundle


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a run of retention found and did.

    Attributes:
        plan: What stays and why, and what nothing names.
        removed: What is gone now; empty for a dry run.
        freed_bytes: Size of what nothing names.
    """

    plan: RetentionPlan
    removed: tuple[StoreEntry, ...]
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
    removed = [] if dry_run else list(_remove(workspace, store, plan.unreachable))
    return Pruned(plan, tuple(removed), sum(sizes.values()))


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
