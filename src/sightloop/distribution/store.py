"""The content-addressed store of releases: one folder a release, named by its digest.

Invariant: a folder named by a digest was verified before it got that name and is verified again
each time it is handed out. A writer works in a `.tmp-` folder it holds a lock on; one killed
midway leaves that folder alone, and `drop_unfinished` removes it once nobody holds the lock.
Which of the releases may serve is not decided here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sightloop._support.files import (
    TEMPORARY_PREFIX,
    naming_full_disk,
    sync_folder,
    sync_tree,
)
from sightloop.errors import BundleError, ReleaseNotFoundError, WorkspaceError
from sightloop.release.archive import Progress, no_progress, unpack_archive
from sightloop.release.bundle import Bundle, claimed_digest, copy_bundle, read_bundle, verify_bundle
from sightloop.release.manifest import parse_semver
from sightloop.release.signing import TrustStore

_DIGEST = re.compile(r"[0-9a-f]{64}")
_DIGEST_PREFIX = re.compile(r"[0-9a-f]{6,64}")
_SHOWN: Final = 8

_log = logging.getLogger(__name__)


class StoreEntry(NamedTuple):
    """One release of the store, as its manifest names it."""

    line: str
    semver: str
    digest: str


class ReleaseStore:
    """Releases below one folder. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path_of(self, digest: str) -> Path:
        """Where the release of this digest lies, if it is here.

        Raises:
            ReleaseNotFoundError: `digest` is no digest.
        """
        if _DIGEST.fullmatch(digest) is None:
            raise ReleaseNotFoundError(
                f"release digest: expected 64 hexadecimal digits, found {digest!r}"
            )
        return self.root / digest

    def add(self, bundle_folder: Path, trust: TrustStore) -> Bundle:
        """Copy a bundle in, verified; the copy is what the caller gets and may run.

        A release that is here already is verified again, source and copy, and not copied; a
        damaged copy is replaced by the source.

        Raises:
            BundleError: The source is not to be believed; nothing of it stays.
            WorkspaceError: `disk_full`; nothing of it stays.
        """
        if self._is_inside(bundle_folder):
            bundle = verify_bundle(bundle_folder, trust)
            self._touch(bundle.digest)
            return bundle
        if self._holds(claimed_digest(bundle_folder), trust):
            digest = verify_bundle(bundle_folder, trust).digest
            self._touch(digest)
        else:
            self.drop_unfinished()
            with naming_full_disk(self.root), self._temporary() as temporary:
                digest = copy_bundle(bundle_folder, temporary, trust).digest
                self._publish(temporary, digest, trust)
        return self.get(digest, trust)

    def add_archive(
        self, archive: Path, trust: TrustStore, *, progress: Progress = no_progress
    ) -> Bundle:
        """Unpack a release from one file, verified; the store has it whole or not at all.

        Raises:
            BundleError: The file is not to be believed; nothing of it stays.
            WorkspaceError: The store cannot be written (store_failed).
        """
        self.drop_unfinished()
        try:
            with self._temporary() as temporary:
                digest = unpack_archive(archive, temporary, trust, progress=progress).digest
                self._publish(temporary, digest, trust)
            self._touch(digest)
        except OSError as error:
            raise WorkspaceError(
                f"store {self.root}: expected room for the release of {archive.name}, found: "
                f"{error.strerror}; free disk space or correct the rights; nothing was kept",
                "store_failed",
            ) from error
        return self.get(digest, trust)

    def remove(self, digest: str) -> None:
        """Take a release out; a reader that holds its files open keeps them.

        Raises:
            ReleaseNotFoundError: `digest` is no digest.
        """
        with (
            naming_full_disk(self.root),
            self._temporary() as discarded,
            contextlib.suppress(FileNotFoundError),
        ):
            os.rename(self.path_of(digest), discarded / "removed")
            sync_folder(self.root)

    def _touch(self, digest: str) -> None:
        """Date a release's folder to its last offer, which retention leaves some time.

        A store that cannot be written cannot be pruned either, so a failure means nothing.
        """
        with contextlib.suppress(OSError):
            os.utime(self.path_of(digest))

    def _holds(self, digest: str, trust: TrustStore) -> bool:
        """Whether a whole release of this digest is here; a damaged one is logged."""
        folder = self.path_of(digest)
        if not folder.is_dir():
            return False
        try:
            verify_bundle(folder, trust)
        except BundleError as error:
            _log.warning("release_damaged", extra={"folder": str(folder), "reason": error.reason})
            return False
        return True

    def _is_inside(self, folder: Path) -> bool:
        resolved = folder.resolve()
        named = _DIGEST.fullmatch(resolved.name) is not None
        return named and resolved.parent == self.root.resolve()

    def _publish(self, temporary: Path, digest: str, trust: TrustStore) -> None:
        """Give a verified copy its name, unless another process has given one of the same content.

        Two renames put a new copy in the place of a damaged one; who has the old files open
        keeps them.
        """
        final = self.path_of(digest)
        for path in temporary.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o444)
        temporary.chmod(0o755)
        sync_tree(temporary)
        if final.exists() and not self._holds(digest, trust):
            with self._temporary() as discarded:
                os.rename(final, discarded / "damaged")
        try:
            os.rename(temporary, final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        sync_folder(self.root)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        """Give a new `.tmp-` folder under this process's lock; what is left of it goes."""
        self.root.mkdir(parents=True, exist_ok=True)
        while True:
            path = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=self.root))
            with contextlib.suppress(FileNotFoundError):
                handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
                fcntl.flock(handle, fcntl.LOCK_EX)
                if path.exists():
                    break
                os.close(handle)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(handle)

    def get(self, digest: str, trust: TrustStore) -> Bundle:
        """Give a release, verified again.

        Raises:
            ReleaseNotFoundError: It is not here.
            BundleError: It is damaged, or its signer is no longer trusted.
        """
        folder = self.path_of(digest)
        if not folder.is_dir():
            raise ReleaseNotFoundError(
                f"release {digest[:12]}: expected in {self.root}, found none; "
                "`sightloop release show` lists what a folder holds"
            )
        bundle = verify_bundle(folder, trust)
        if bundle.digest != digest:
            raise BundleError(
                f"{folder}: expected the release its name says, found {bundle.digest[:12]}; "
                "remove the folder and add the release again",
                "digest_mismatch",
            )
        return bundle

    def digests(self) -> frozenset[str]:
        """What is here by name alone, damaged or not."""
        if not self.root.is_dir():
            return frozenset()
        return frozenset(
            folder.name for folder in self.root.iterdir() if _DIGEST.fullmatch(folder.name)
        )

    def entries(self) -> tuple[StoreEntry, ...]:
        """What is here by line, then semver, as the manifests say. A damaged one is logged."""
        found = []
        for folder in map(self.path_of, self.digests()):
            try:
                bundle = read_bundle(folder)
            except BundleError as error:
                _log.warning(
                    "release_damaged", extra={"folder": str(folder), "reason": error.reason}
                )
                continue
            if bundle.digest == folder.name:
                manifest = bundle.manifest
                found.append(StoreEntry(manifest.line, manifest.semver, bundle.digest))
            else:
                _log.warning(
                    "release_damaged", extra={"folder": str(folder), "reason": "digest_mismatch"}
                )
        return tuple(sorted(found, key=lambda entry: (entry[0], parse_semver(entry[1]), entry[2])))

    def find(self, line: str, semver_or_digest: str) -> str:
        """Give the digest of the one release of `line` with this semver or digest prefix.

        Args:
            line: The model line.
            semver_or_digest: `1.4.0`, or 6 to 64 hexadecimal digits.

        Raises:
            ReleaseNotFoundError: None (release_not_found), or several (release_ambiguous).
        """
        mine = [entry for entry in self.entries() if entry.line == line]
        found = [entry for entry in mine if entry.semver == semver_or_digest]
        if not found and _DIGEST_PREFIX.fullmatch(semver_or_digest):
            found = [entry for entry in mine if entry.digest.startswith(semver_or_digest)]
        if len(found) == 1:
            return found[0].digest
        if found:
            digests = ", ".join(entry.digest[:12] for entry in found[:_SHOWN])
            raise ReleaseNotFoundError(
                f"line {line}: {semver_or_digest!r} names {len(found)} releases: {digests}; "
                "name one by its digest",
                "release_ambiguous",
            )
        known = ", ".join(f"{entry.semver} ({entry.digest[:12]})" for entry in mine[-_SHOWN:])
        raise ReleaseNotFoundError(
            f"line {line}: expected a release {semver_or_digest!r} in {self.root}, found "
            f"{known or 'no release of this line'}; give its semver or 6 or more digits of its "
            "digest"
        )

    def drop_unfinished(self) -> int:
        """Remove what interrupted writers left; one at work is left alone. Returns how many."""
        if not self.root.is_dir():
            return 0
        return sum(map(_drop_if_abandoned, self.root.glob(f"{TEMPORARY_PREFIX}*")))


def _drop_if_abandoned(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        shutil.rmtree(path, ignore_errors=True)
        return True
    finally:
        os.close(handle)
