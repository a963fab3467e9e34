"""What the protocol's plane reads of the workspace's store: manifests, and what is there."""

from __future__ import annotations

from sightloop.distribution.store import ReleaseStore, StoreEntry
from sightloop.errors import BundleError, FileSetError, ReleaseNotFoundError
from sightloop.release.bundle import read_bundle
from sightloop.release.manifest import Manifest


class StoredReleases:
    """`KnownReleases` of a store. Blocks on the disk."""

    def __init__(self, store: ReleaseStore) -> None:
        self._store = store

    def manifest(self, digest: str) -> Manifest:
        """The manifest whose bytes have this digest, so that it needs no other proof.

        Raises:
            ReleaseNotFoundError: It is not in the store.
            BundleError: What lies there has another digest (`digest_mismatch`).
        """
        try:
            bundle = read_bundle(self._store.path_of(digest))
        except FileSetError as error:
            raise ReleaseNotFoundError(
                f"release {digest[:12]}: expected its manifest in the store, found: {error.message}"
            ) from error
        if bundle.digest != digest:
            raise BundleError(
                f"release {digest[:12]}: expected its manifest in the store, found that of "
                f"{bundle.digest[:12]}; add the release again",
                "digest_mismatch",
            )
        return bundle.manifest

    def entries(self) -> tuple[StoreEntry, ...]:
        """Every release of the store."""
        return self._store.entries()

    def find(self, line: str, semver_or_digest: str) -> str:
        """The digest of the one release that is meant.

        Raises:
            ReleaseNotFoundError: None, or several.
        """
        return self._store.find(line, semver_or_digest)
