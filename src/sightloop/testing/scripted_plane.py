"""The protocol's plane over a scripted line, with a store that is a dictionary."""

from __future__ import annotations

from dataclasses import dataclass, field

from sightloop._support.clock import SystemClock
from sightloop.distribution.store import StoreEntry
from sightloop.errors import ReleaseNotFoundError
from sightloop.release.manifest import Manifest
from sightloop.serving.adminplane import AdminPlane
from sightloop.serving.dataplane import DataPlane
from sightloop.serving.open_inference import OpenInference
from sightloop.testing.scripted_door import UnwrittenAudit
from sightloop.testing.scripted_line import ScriptedLine


@dataclass(slots=True)
class KnownFew:
    """`KnownReleases` of a test: what is in the store, and one manifest for all."""

    manifest_of_all: Manifest | None = None
    stored: list[StoreEntry] = field(default_factory=list)

    def manifest(self, digest: str) -> Manifest:
        if self.manifest_of_all is None:
            raise ReleaseNotFoundError(f"release {digest}: expected in the store, found none")
        return self.manifest_of_all

    def entries(self) -> tuple[StoreEntry, ...]:
        return tuple(self.stored)

    def find(self, line: str, semver_or_digest: str) -> str:
        for entry in self.stored:
            if entry.line == line and semver_or_digest in (entry.semver, entry.digest):
                return entry.digest
        raise ReleaseNotFoundError(f"line {line}: no release {semver_or_digest}")


def plane_of(it: ScriptedLine, known: KnownFew | None = None) -> OpenInference:
    """The plane of a scripted line named `plate`."""
    lines = {"plate": it.line}
    clock = SystemClock()
    return OpenInference(
        lines,
        DataPlane(lines, metrics=it.metrics, clock=clock),
        AdminPlane(lines, {"plate": it.orders}, log=UnwrittenAudit()),
        known=known or KnownFew(),
        clock=clock,
        version="1.2.3",
    )
