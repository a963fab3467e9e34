"""The gate `integrity`: are these the bytes a trusted maker signed, and may this slot take them?

Invariant: what passes is a verified copy in the store, never the folder that was offered. Whether
the network loads and answers rightly is for the later gates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sightloop.errors import BundleError, DowngradeError
from sightloop.release.bundle import Bundle
from sightloop.release.manifest import Manifest, parse_semver
from sightloop.release.signing import TrustStore
from sightloop.release.verdict import Measurement, Outcome, Verdict

GATE = "integrity"


class BundleStore(Protocol):
    """Where a release is copied to before it is believed."""

    def add(self, bundle_folder: Path, trust: TrustStore) -> Bundle:
        """Copy a bundle in and verify the copy.

        Raises:
            BundleError: The bundle is not to be believed.
        """


@dataclass(frozen=True, slots=True)
class AcceptedReleases:
    """What a slot has accepted so far.

    Attributes:
        highest_semver: Highest semver ever accepted; None for a new slot.
        digests: Digests of the slot's history: these may come back, gated again.
    """

    highest_semver: str | None
    digests: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Refusal:
    reason: str
    message: str


def check_integrity(
    store: BundleStore,
    source: Path,
    trust: TrustStore,
    *,
    line: str,
    classes: tuple[str, ...] | None,
    accepted: AcceptedReleases,
) -> tuple[Verdict, Bundle | None]:
    """Take a bundle into the store and hold it against the slot.

    Args:
        store: Copies and verifies.
        source: The folder that is offered.
        trust: Whose signature counts.
        line: The slot's model line.
        classes: The champion's class list; None where there is no champion.
        accepted: What the slot has accepted.

    Returns:
        The verdict, and the verified copy when it is PASS.
    """
    try:
        bundle = store.add(source, trust)
    except BundleError as error:
        return Verdict(GATE, Outcome.FAIL, error.reason, error.message), None
    except OSError as error:
        message = f"the release could not be copied into the store: {error}; check disk and rights"
        return Verdict(GATE, Outcome.ERROR, "store_failed", message), None
    manifest = bundle.manifest
    refusal = judge_release(manifest, bundle.digest, line=line, classes=classes, accepted=accepted)
    measurements: dict[str, Measurement] = {
        "semver": manifest.semver,
        "digest": bundle.digest,
        "signer": bundle.signer,
        "files": len(manifest.files),
        "size_bytes": sum(entry.bytes for entry in manifest.files.values()),
        "highest_accepted": accepted.highest_semver or "none",
    }
    if refusal is not None:
        failed = Verdict(GATE, Outcome.FAIL, refusal.reason, refusal.message, measurements)
        return failed, None
    passed = Verdict(
        GATE,
        Outcome.PASS,
        "ok",
        f"{line} {manifest.semver} is signed by {bundle.signer}; all files are as signed",
        measurements,
    )
    return passed, bundle


def judge_release(
    manifest: Manifest,
    digest: str,
    *,
    line: str,
    classes: tuple[str, ...] | None,
    accepted: AcceptedReleases,
) -> _Refusal | None:
    """Say why this slot may not take a verified release, or None."""
    if manifest.line != line:
        return _Refusal(
            "line_differs",
            f"expected a release of line {line}, found one of line {manifest.line}; send it to "
            "its own line",
        )
    if (refusal := _judge_version(manifest.semver, digest, accepted)) is not None:
        return refusal
    if classes is not None and manifest.classes != classes:
        return _Refusal(
            "classes_changed",
            f"expected the champion's {len(classes)} classes in its order, found "
            f"{_first_difference(classes, manifest.classes)}; users of the line read class "
            "indices: start a new line for another class list",
        )
    return None


def _judge_version(semver: str, digest: str, accepted: AcceptedReleases) -> _Refusal | None:
    highest = accepted.highest_semver
    if highest is None or digest in accepted.digests:
        return None
    if semver == highest:
        return _Refusal(
            "version_taken",
            f"{semver} is accepted here with other content; expected a semver above it: build "
            "the release again under the next one",
        )
    if parse_semver(semver) < parse_semver(highest):
        return _Refusal(
            DowngradeError.default_reason,
            f"expected a semver above {highest}, the highest accepted here, or a release of the "
            f"slot's history, found {semver} ({digest[:12]}), which is neither; build it again "
            "under a higher semver",
        )
    return None


def _first_difference(expected: tuple[str, ...], found: tuple[str, ...]) -> str:
    for index, (old, new) in enumerate(zip(expected, found, strict=False)):
        if old != new:
            return f"{new!r} at index {index} where the champion has {old!r}"
    return f"{len(found)} classes"
