"""Retention decides by reachability alone."""

from __future__ import annotations

import pytest

from sightloop.distribution.retention import plan_retention
from sightloop.distribution.store import StoreEntry


def _entry(line: str, semver: str, digest: str = "") -> StoreEntry:
    return StoreEntry(line, semver, digest or f"{line}-{semver}")


ENTRIES = [_entry("a", f"1.{minor}.0") for minor in (10, 9, 2, 1)] + [_entry("b", "1.0.0")]


@pytest.mark.parametrize(
    ("keep_last", "gone"),
    [
        (0, ["a-1.1.0", "a-1.2.0", "a-1.9.0", "a-1.10.0", "b-1.0.0"]),
        (1, ["a-1.1.0", "a-1.2.0", "a-1.9.0"]),
        (2, ["a-1.1.0", "a-1.2.0"]),
        (9, []),
    ],
)
def test_last_versions_of_every_line_stay(keep_last: int, gone: list[str]) -> None:
    plan = plan_retention(ENTRIES, {}, keep_last=keep_last)
    assert [entry.digest for entry in plan.unreachable] == gone
    assert len(plan.kept) + len(plan.unreachable) == len(ENTRIES)


def test_named_release_stays_and_says_why() -> None:
    named = {"a-1.1.0": ("champion", "held: x"), "a-1.10.0": ("alias y",), "not here": ("z",)}
    plan = plan_retention(ENTRIES, named, keep_last=1)
    assert {kept.entry.digest: kept.because for kept in plan.kept} == {
        "a-1.1.0": ("champion", "held: x"),
        "a-1.10.0": ("alias y", "among the last 1"),
        "b-1.0.0": ("among the last 1",),
    }


def test_releases_that_share_a_version_share_its_place() -> None:
    entries = [_entry("a", "1.0.0", "x"), _entry("a", "1.0.0", "y"), _entry("a", "0.9.0", "z")]
    plan = plan_retention(entries, {}, keep_last=1)
    assert [entry.digest for entry in plan.unreachable] == ["z"]
