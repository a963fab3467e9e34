"""Promise: a slot goes up, or back to what it has accepted; lines and classes do not mix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sightloop.gates.integrity import AcceptedReleases


def test_older_release_never_accepted_here_is_a_downgrade(node: Any) -> None:
    verdict = node.refusal(node.candidate(semver="0.9.9"))
    assert (verdict.gate, verdict.reason) == ("integrity", "downgrade")


def test_versions_are_compared_as_numbers(node: Any) -> None:
    later = replace(node, accepted=AcceptedReleases("1.10.0", node.accepted.digests))
    assert later.refusal(later.candidate(semver="1.9.0")).reason == "downgrade"


def test_same_version_with_other_content_is_refused(node: Any) -> None:
    verdict = node.refusal(node.candidate(semver="1.0.0"))
    assert (verdict.gate, verdict.reason) == ("integrity", "version_taken")


def test_release_of_the_history_may_come_back(node: Any, bundle: Path) -> None:
    stored = node.store.add(bundle, node.trust)
    later = replace(
        node, accepted=AcceptedReleases("2.0.0", frozenset({stored.digest, node.champion.name}))
    )
    assert later.offer(stored.folder).loaded is not None


def test_release_of_another_line_is_refused(node: Any) -> None:
    verdict = node.refusal(node.candidate(line="bottle"))
    assert (verdict.gate, verdict.reason) == ("integrity", "line_differs")


def test_release_with_the_classes_in_another_order_is_refused(node: Any) -> None:
    verdict = node.refusal(node.candidate(classes=("spot", "pit")))
    assert (verdict.gate, verdict.reason) == ("integrity", "classes_changed")
