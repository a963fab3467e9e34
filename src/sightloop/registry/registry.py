"""What a model registry is: versions of a line's releases, and which one holds which role.

Invariant: a semver of a line names one digest for ever, and nothing leaves a registry unverified.
A registry records; which release serves is the slot's business, and the roles here follow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sightloop.errors import RegistryError, VersionExistsError
from sightloop.release.bundle import Bundle
from sightloop.release.signing import TrustStore


class Role(StrEnum):
    """What a version is to its line; each role is held by at most one version."""

    CHAMPION = "champion"
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """One release in the registry.

    Attributes:
        line: Model line.
        semver: The release's version; unique within the line.
        digest: The release's digest.
        number: The registry's own number of it.
        run_id: The tracked run that made it.
    """

    line: str
    semver: str
    digest: str
    number: str
    run_id: str


class Registry(Protocol):
    """Where releases are registered. All methods raise `RegistryError` when it fails."""

    def register(self, bundle: Bundle, *, run_id: str) -> RegisteredVersion:
        """Add a verified release made by a tracked run; again with the same digest is no change.

        Raises:
            VersionExistsError: The line has this semver with another digest.
        """

    def promote(self, line: str, digest: str) -> RegisteredVersion:
        """Make a registered release champion and the champion so far previous.

        Promoting the champion changes nothing.
        """

    def holder(self, line: str, role: Role) -> RegisteredVersion | None:
        """The version that holds a role, if any."""

    def versions(self, line: str) -> tuple[RegisteredVersion, ...]:
        """All versions of a line, oldest first; empty for an unknown line."""

    def download(self, line: str, reference: str, to: Path, trust: TrustStore) -> Bundle:
        """Fetch a release by semver or role into `to` (absent before), verified.

        Raises:
            BundleError: What came is not what a trusted key signed; `to` is not written.
        """


def same_version(versions: Sequence[RegisteredVersion], bundle: Bundle) -> RegisteredVersion | None:
    """The version that already is this release, or None where its semver is free.

    Raises:
        VersionExistsError: The semver is taken by another digest.
    """
    semver = bundle.manifest.semver
    for version in versions:
        if version.semver != semver:
            continue
        if version.digest != bundle.digest:
            raise VersionExistsError(
                f"line {version.line}: {semver} is registered with digest {version.digest[:12]}, "
                f"found {bundle.digest[:12]}; a semver is given once: raise it in the config"
            )
        return version
    return None


def version_of_digest(
    versions: Sequence[RegisteredVersion], line: str, digest: str
) -> RegisteredVersion:
    """The version with this digest.

    Raises:
        RegistryError: version_not_registered.
    """
    for version in versions:
        if version.digest == digest:
            return version
    raise RegistryError(
        f"line {line}: expected a registered release with digest {digest[:12]}, found none among "
        f"{len(versions)}; register it with `sightloop pipeline run`",
        reason="version_not_registered",
    )


def version_of_semver(
    versions: Sequence[RegisteredVersion], line: str, semver: str
) -> RegisteredVersion:
    """The version with this semver.

    Raises:
        RegistryError: version_not_registered.
    """
    for version in versions:
        if version.semver == semver:
            return version
    known = ", ".join(version.semver for version in versions) or "none"
    raise RegistryError(
        f"line {line}: expected a registered version {semver}, found {known}",
        reason="version_not_registered",
    )


def absent_role(line: str, role: Role) -> RegistryError:
    """The error of asking for a role that nobody holds."""
    return RegistryError(
        f"line {line}: no version is {role.value}; promote one by `sightloop rollout start`",
        reason="role_vacant",
    )
