"""Which releases of a store are still wanted: decided by reachability, as a pure function.

Invariant: a release goes only if nothing names it. Who names releases (slots, registry, people)
is found out in `app/retention.py`; nothing is removed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sightloop.distribution.store import StoreEntry
from sightloop.release.manifest import parse_semver


@dataclass(frozen=True, slots=True)
class Kept:
    """A release that stays, with everything that names it."""

    entry: StoreEntry
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What stays and what may go, each by line and version."""

    kept: tuple[Kept, ...]
    unreachable: tuple[StoreEntry, ...]


def plan_retention(
    entries: Sequence[StoreEntry], named: Mapping[str, Sequence[str]], *, keep_last: int
) -> RetentionPlan:
    """Split a store into what is reachable and what is not. Pure.

    Args:
        entries: What the store holds.
        named: By digest, what names a release, in words for people.
        keep_last: So many highest versions of every line stay in any case.
    """
    newest = _newest(entries, keep_last)
    kept, unreachable = [], []
    for entry in sorted(entries, key=_order):
        because = list(named.get(entry.digest, ()))
        if entry.digest in newest:
            because.append(f"among the last {keep_last}")
        if because:
            kept.append(Kept(entry, tuple(because)))
        else:
            unreachable.append(entry)
    return RetentionPlan(tuple(kept), tuple(unreachable))


def _order(entry: StoreEntry) -> tuple[str, tuple[int, int, int], str]:
    return entry.line, parse_semver(entry.semver), entry.digest


def _newest(entries: Sequence[StoreEntry], count: int) -> frozenset[str]:
    """Digests with one of the `count` highest versions of their line."""
    found = set()
    for line in {entry.line for entry in entries}:
        mine = [entry for entry in entries if entry.line == line]
        versions = sorted({parse_semver(entry.semver) for entry in mine}, reverse=True)[:count]
        found |= {entry.digest for entry in mine if parse_semver(entry.semver) in versions}
    return frozenset(found)
