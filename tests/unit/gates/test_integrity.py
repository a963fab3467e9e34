"""Which verified release a slot may take: a table. Bundles are attacked in tests/attacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.gates.integrity import AcceptedReleases, check_integrity, judge_release
from sightloop.release.bundle import Bundle, read_bundle
from sightloop.release.manifest import Manifest
from sightloop.release.signing import TrustStore, create_key
from sightloop.release.verdict import Outcome
from sightloop.testing.tiny_detectors import build_tiny_release

OWN, OTHER = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("release")
    build_tiny_release(folder / "b", semver="1.2.0", key=create_key(folder / "k"), frames=1)
    return read_bundle(folder / "b").manifest


@pytest.mark.parametrize(
    ("highest", "history", "reason"),
    [
        (None, (), None),
        ("1.1.9", (), None),
        ("1.2.0", (OTHER,), "version_taken"),
        ("1.2.0", (OWN,), None),
        ("1.10.0", (OTHER,), "downgrade"),
        ("1.10.0", (OTHER, OWN), None),
    ],
)
def test_slot_goes_up_or_back_to_what_it_has_accepted(
    manifest: Manifest, highest: str | None, history: tuple[str, ...], reason: str | None
) -> None:
    accepted = AcceptedReleases(highest, frozenset(history))
    refusal = judge_release(manifest, OWN, line="plate", classes=None, accepted=accepted)
    assert (refusal.reason if refusal else None) == reason


@pytest.mark.parametrize(
    ("line", "classes", "reason"),
    [
        ("plate", ("pit", "spot"), None),
        ("bottle", ("pit", "spot"), "line_differs"),
        ("plate", ("spot", "pit"), "classes_changed"),
        ("plate", ("pit",), "classes_changed"),
        ("plate", ("pit", "spot", "dent"), "classes_changed"),
    ],
)
def test_line_and_class_list_are_the_slots(
    manifest: Manifest, line: str, classes: tuple[str, ...], reason: str | None
) -> None:
    accepted = AcceptedReleases(None, frozenset())
    refusal = judge_release(manifest, OWN, line=line, classes=classes, accepted=accepted)
    assert (refusal.reason if refusal else None) == reason


class _FullDisk:
    def add(self, bundle_folder: Path, trust: TrustStore) -> Bundle:
        raise OSError(28, "No space left on device")


def test_store_that_fails_refuses_with_an_error(tmp_path: Path) -> None:
    verdict, bundle = check_integrity(
        _FullDisk(),
        tmp_path,
        TrustStore(()),
        line="plate",
        classes=None,
        accepted=AcceptedReleases(None, frozenset()),
    )
    assert bundle is None
    assert (verdict.outcome, verdict.reason) == (Outcome.ERROR, "store_failed")
