"""A tracker and a registry that live in this process: for tests that need no MLflow."""

from __future__ import annotations

from pathlib import Path

from sightloop._support.files import new_folder
from sightloop.errors import ConfigError, RegistryError
from sightloop.registry.registry import (
    RegisteredVersion,
    Role,
    absent_role,
    same_version,
    version_of_digest,
    version_of_semver,
)
from sightloop.registry.tracker import RunRecord
from sightloop.release.bundle import Bundle, copy_bundle, verify_bundle
from sightloop.release.signing import TrustStore


class MemoryTracker:
    """A `Tracker`.

    Attributes:
        records: What was recorded, by run id.
    """

    def __init__(self) -> None:
        self.records: dict[str, RunRecord] = {}

    def record(self, run: RunRecord) -> str:
        if known := self.find(run.line, run.digest):
            return known
        run_id = f"run-{len(self.records) + 1}"
        self.records[run_id] = run
        return run_id

    def find(self, line: str, digest: str) -> str | None:
        for run_id, run in self.records.items():
            if (run.line, run.digest) == (line, digest):
                return run_id
        return None


class MemoryRegistry:
    """A `Registry` over bundles that stay where they are."""

    def __init__(self) -> None:
        self._versions: list[RegisteredVersion] = []
        self._folders: dict[str, Path] = {}
        self._roles: dict[tuple[str, Role], RegisteredVersion] = {}

    def register(self, bundle: Bundle, *, run_id: str) -> RegisteredVersion:
        line = bundle.manifest.line
        if known := same_version(self.versions(line), bundle):
            return known
        made = RegisteredVersion(
            line=line,
            semver=bundle.manifest.semver,
            digest=bundle.digest,
            number=str(len(self.versions(line)) + 1),
            run_id=run_id,
        )
        self._versions.append(made)
        self._folders[bundle.digest] = bundle.folder
        return made

    def promote(self, line: str, digest: str) -> RegisteredVersion:
        chosen = version_of_digest(self.versions(line), line, digest)
        champion = self.holder(line, Role.CHAMPION)
        if champion != chosen:
            if champion is not None:
                self._roles[line, Role.PREVIOUS] = champion
            self._roles[line, Role.CHAMPION] = chosen
        return chosen

    def holder(self, line: str, role: Role) -> RegisteredVersion | None:
        return self._roles.get((line, role))

    def versions(self, line: str) -> tuple[RegisteredVersion, ...]:
        return tuple(version for version in self._versions if version.line == line)

    def download(self, line: str, reference: str, to: Path, trust: TrustStore) -> Bundle:
        if to.exists():
            raise ConfigError(f"{to}: expected no such folder yet")
        wanted = self._resolve(line, reference)
        source = self._folders[wanted.digest]
        if not source.is_dir() or not any(source.iterdir()):
            raise RegistryError(f"{wanted.semver}: its bundle is gone", reason="artifacts_missing")
        with new_folder(to) as target:
            copy_bundle(source, target, trust)
        return verify_bundle(to, trust)

    def folder_of(self, version: RegisteredVersion) -> Path:
        """Where a version's bundle lies."""
        return self._folders[version.digest]

    def _resolve(self, line: str, reference: str) -> RegisteredVersion:
        if reference not in set(Role):
            return version_of_semver(self.versions(line), line, reference)
        holder = self.holder(line, Role(reference))
        if holder is None:
            raise absent_role(line, Role(reference))
        return holder
