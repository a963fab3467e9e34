"""Registers releases in MLflow: the bundle as the run's artifact, semver and digest as tags.

Aliases hold the roles; semvers cannot be aliases there. MLflow deletes artifacts a live alias
points to and then downloads an empty folder without an error, so every download is verified
against the manifest before anybody can read it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sightloop._support.files import TEMPORARY_PREFIX, new_folder
from sightloop.errors import ConfigError, RegistryError
from sightloop.registry.mlflow_store import MlflowStore, mlflow_errors
from sightloop.registry.registry import (
    RegisteredVersion,
    Role,
    absent_role,
    same_version,
    version_of_digest,
    version_of_semver,
)
from sightloop.release.bundle import Bundle, copy_bundle, verify_bundle
from sightloop.release.signing import TrustStore

BUNDLE_ARTIFACT: Final = "bundle"
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class MlflowRegistry:
    """A `Registry` in an embedded MLflow store."""

    store: MlflowStore

    def register(self, bundle: Bundle, *, run_id: str) -> RegisteredVersion:
        line = bundle.manifest.line
        if known := same_version(self.versions(line), bundle):
            return known
        with mlflow_errors():
            client = self.store.client
            client.log_artifacts(run_id, str(bundle.folder), BUNDLE_ARTIFACT)
            if not client.search_registered_models(f"name = '{line}'"):
                client.create_registered_model(line)
            run = client.get_run(run_id)
            made = client.create_model_version(
                line,
                source=f"{run.info.artifact_uri}/{BUNDLE_ARTIFACT}",
                run_id=run_id,
                tags=_tags_of(bundle),
                description=f"{line} {bundle.manifest.semver}, digest {bundle.digest}",
            )
        return _version_of(made)

    def promote(self, line: str, digest: str) -> RegisteredVersion:
        chosen = version_of_digest(self.versions(line), line, digest)
        champion = self.holder(line, Role.CHAMPION)
        if champion == chosen:
            return chosen
        with mlflow_errors():
            client = self.store.client
            if champion is not None:
                client.set_registered_model_alias(line, Role.PREVIOUS.value, champion.number)
            client.set_registered_model_alias(line, Role.CHAMPION.value, chosen.number)
        return chosen

    def holder(self, line: str, role: Role) -> RegisteredVersion | None:
        with mlflow_errors():
            if not self.store.client.search_registered_models(f"name = '{line}'"):
                return None
            aliases = self.store.client.get_registered_model(line).aliases
            number = aliases.get(role.value)
            if number is None:
                return None
            return _version_of(self.store.client.get_model_version(line, str(number)))

    def versions(self, line: str) -> tuple[RegisteredVersion, ...]:
        with mlflow_errors():
            found = self.store.client.search_model_versions(
                f"name = '{line}'", max_results=_PAGE, order_by=["version_number ASC"]
            )
        return tuple(_version_of(version) for version in found if "digest" in version.tags)

    def download(self, line: str, reference: str, to: Path, trust: TrustStore) -> Bundle:
        if to.exists():
            raise ConfigError(f"{to}: expected no such folder yet; name another or remove it")
        wanted = self._resolve(line, reference)
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=to.parent) as name:
            fetched = self._fetch(wanted, Path(name))
            with new_folder(to) as target:
                bundle = copy_bundle(fetched, target, trust)
                if bundle.digest != wanted.digest:
                    raise RegistryError(
                        f"line {line} {wanted.semver}: expected digest {wanted.digest[:12]}, "
                        f"found {bundle.digest[:12]} in the registry's artifacts; register the "
                        "release again under a new semver",
                        reason="digest_mismatch",
                    )
        return verify_bundle(to, trust)

    def _resolve(self, line: str, reference: str) -> RegisteredVersion:
        if reference in set(Role):
            role = Role(reference)
            holder = self.holder(line, role)
            if holder is None:
                raise absent_role(line, role)
            return holder
        return version_of_semver(self.versions(line), line, reference)

    def _fetch(self, wanted: RegisteredVersion, folder: Path) -> Path:
        with mlflow_errors():
            answer = self.store.client.download_artifacts(
                wanted.run_id, BUNDLE_ARTIFACT, str(folder)
            )
        fetched = Path(answer)
        if not fetched.is_dir() or not any(fetched.iterdir()):
            raise RegistryError(
                f"line {wanted.line} {wanted.semver}: expected its bundle among the artifacts of "
                f"run {wanted.run_id}, found nothing (`mlflow gc` deletes what an alias points "
                "to); take the release from the workspace's store",
                reason="artifacts_missing",
            )
        return fetched


def _tags_of(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    return {
        "semver": manifest.semver,
        "digest": bundle.digest,
        "dataset_version": manifest.lineage.dataset_version or "unknown",
        "signer": bundle.signer,
    }


def _version_of(version: Any) -> RegisteredVersion:
    return RegisteredVersion(
        line=str(version.name),
        semver=str(version.tags["semver"]),
        digest=str(version.tags["digest"]),
        number=str(version.version),
        run_id=str(version.run_id),
    )
