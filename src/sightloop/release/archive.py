"""A release as one file, for a stick or a mail: a plain tar whose every byte is determined.

Members are manifest.json, manifest.sig, then the manifest's files in order, with fixed owner, mode
and date. A reader therefore knows each header before it reads it and takes no other: links,
devices, absolute paths, second entries and trailing bytes have no place to stand. The signature
is checked before the first file is written. Where a release is kept is not decided here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from sightloop._support.files import TEMPORARY_PREFIX, sync_folder
from sightloop.errors import DigestMismatchError, FileSetError, WorkspaceError
from sightloop.release.bundle import (
    MANIFEST_BYTES_MAX,
    SIGNATURE_BYTES_MAX,
    Bundle,
    verify_bundle,
)
from sightloop.release.folder import open_folder, read_bounded, stream_member
from sightloop.release.manifest import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    FileEntry,
    Manifest,
    digest_of,
    manifest_from_bytes,
)
from sightloop.release.signing import TrustStore, check_signature

ARCHIVE_BYTES_MAX: Final = 8 << 30
_BLOCK_BYTES: Final = tarfile.BLOCKSIZE
_END: Final = bytes(2 * _BLOCK_BYTES)
_CHUNK_BYTES: Final = 1 << 20
_MODE: Final = 0o644
Progress = Callable[[float], None]
_AGAIN: Final = "export the release again with `sightloop release export`"


def no_progress(fraction: float) -> None:
    """For callers who show none."""


def write_archive(
    folder: Path, out: Path, trust: TrustStore, *, progress: Progress = no_progress
) -> Bundle:
    """Write a bundle as one file, verified; `out` is replaced whole or not at all.

    The same release gives the same bytes, on any machine.

    Args:
        folder: The bundle.
        out: The file.
        trust: Whose signature is believed.
        progress: Takes the fraction of the bytes that is written.

    Returns:
        The bundle that was written.

    Raises:
        BundleError: The bundle is not to be believed, or a name in it is too long
            (name_unsuitable).
        WorkspaceError: `out` cannot be written (file_unwritable).
    """
    bundle = verify_bundle(folder, trust)
    with open_folder(folder) as root:
        data = read_bounded(root, MANIFEST_NAME, bytes_max=MANIFEST_BYTES_MAX)
        signature = read_bounded(root, SIGNATURE_NAME, bytes_max=SIGNATURE_BYTES_MAX)
        check_signature(signature, data, trust)
        if digest_of(data) != bundle.digest:
            raise DigestMismatchError(
                f"{folder}: manifest.json changed while it was read; keep the release still"
            )
        total = sum(entry.bytes for entry in bundle.manifest.files.values())
        with _whole_file(out) as write:
            put = _counted(write, total, progress)
            for name, content in ((MANIFEST_NAME, data), (SIGNATURE_NAME, signature)):
                put(_header(name, len(content)) + content + _padding(len(content)))
            for path, entry in sorted(bundle.manifest.files.items()):
                put(_header(path, entry.bytes))
                stream_member(root, path, entry, put)
                put(_padding(entry.bytes))
            put(_END)
    return bundle


def _counted(
    write: Callable[[bytes], object], total: int, progress: Progress
) -> Callable[[bytes], None]:
    """`write`, and the fraction of `total` bytes told to `progress` after each call."""
    done = 0

    def put(data: bytes) -> None:
        nonlocal done
        write(data)
        done += len(data)
        progress(min(1.0, done / total))

    return put


def unpack_archive(
    archive: Path, target: Path, trust: TrustStore, *, progress: Progress = no_progress
) -> Bundle:
    """Unpack a release into the empty folder `target`, keeping only what proved to be as signed.

    Nothing is flushed to the disk here. On an error `target` is to be thrown away.

    Raises:
        SignatureInvalidError, ManifestInvalidError, DigestMismatchError: As `verify_bundle`.
        FileSetError: bundle_missing, file_special, file_unreadable, file_too_large,
            archive_malformed or archive_truncated.
        OSError: `target` cannot be written.
    """
    with _opened(archive) as source:
        data = source.small(MANIFEST_NAME, bytes_max=MANIFEST_BYTES_MAX)
        signature = source.small(SIGNATURE_NAME, bytes_max=SIGNATURE_BYTES_MAX)
        signer = check_signature(signature, data, trust)
        manifest = manifest_from_bytes(data)
        source.expect_size(_size_of(manifest, len(data), len(signature)))
        for path, entry in sorted(manifest.files.items()):
            copy = target / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            with open(copy, "xb") as stream:
                source.member(path, entry, stream, progress)
        source.end()
    (target / SIGNATURE_NAME).write_bytes(signature)
    (target / MANIFEST_NAME).write_bytes(data)
    return Bundle(target.resolve(), manifest, digest_of(data), signer)


def _header(name: str, size_bytes: int) -> bytes:
    """The one header that a plain file of this name and size has."""
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    member.mode = _MODE
    try:
        return member.tobuf(tarfile.USTAR_FORMAT, encoding="utf-8", errors="strict")
    except ValueError as error:
        raise FileSetError(
            f"{name!r}, {size_bytes} bytes: expected a name of up to 100 bytes of text and a size "
            "below 8 GiB, as a tar file can hold; build the release with another",
            "name_unsuitable",
        ) from error


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % _BLOCK_BYTES)


def _size_of(manifest: Manifest, *own_bytes: int) -> int:
    """Bytes of the whole file."""
    sizes = [*own_bytes, *(entry.bytes for entry in manifest.files.values())]
    return sum(_BLOCK_BYTES + size + -size % _BLOCK_BYTES for size in sizes) + len(_END)


class _Source:
    """An archive, read once from its beginning. Every method raises `FileSetError`."""

    def __init__(self, stream: IO[bytes], name: str, size_bytes: int) -> None:
        self._stream = stream
        self._name = name
        self._size_bytes = size_bytes

    def small(self, name: str, *, bytes_max: int) -> bytes:
        """The member `name`, of a size that is not known before."""
        header = self._read(_BLOCK_BYTES)
        size = self._parsed(header, name).size
        if not 0 <= size <= bytes_max:
            raise FileSetError(
                f"{self._name}: {name}: expected at most {bytes_max} bytes, found {size}; {_AGAIN}",
                "file_too_large",
            )
        self._check_header(header, name, size)
        data = self._read(size)
        self._zeros(len(_padding(size)))
        return data

    def member(self, name: str, entry: FileEntry, sink: IO[bytes], progress: Progress) -> None:
        """Copy the member `name` into `sink`, held against its entry."""
        self._check_header(self._read(_BLOCK_BYTES), name, entry.bytes)
        digest = hashlib.sha256()
        left = entry.bytes
        while left:
            chunk = self._read(min(left, _CHUNK_BYTES))
            left -= len(chunk)
            digest.update(chunk)
            sink.write(chunk)
            progress(self._stream.tell() / self._size_bytes)
        self._zeros(len(_padding(entry.bytes)))
        if digest.hexdigest() != entry.sha256:
            raise DigestMismatchError(
                f"{self._name}: {name}: expected SHA-256 {entry.sha256[:16]}… as signed, found "
                f"{digest.hexdigest()[:16]}…: the file was changed or damaged; {_AGAIN}"
            )

    def expect_size(self, size_bytes: int) -> None:
        """Hold the file's size against what its manifest makes it, before anything is written."""
        if size_bytes > self._size_bytes:
            raise self._truncated(size_bytes)
        if size_bytes < self._size_bytes:
            raise self._malformed(f"{size_bytes} bytes in all", f"{self._size_bytes}")

    def end(self) -> None:
        """Nothing but the end may follow."""
        self._zeros(len(_END))
        if self._read_some(1):
            raise self._malformed("the end", "more bytes")

    def _parsed(self, header: bytes, wanted: str) -> tarfile.TarInfo:
        try:
            return tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeError) as error:
            raise self._malformed(wanted, f"no header of a tar file ({error})") from error

    def _check_header(self, header: bytes, name: str, size_bytes: int) -> None:
        if header == _header(name, size_bytes):
            return
        found = self._parsed(header, name)
        kind = "a plain file" if found.isreg() else "a link" if _is_link(found) else "no plain file"
        raise self._malformed(
            f"the plain file {name}, {size_bytes} bytes, without date, owner or rights of its own",
            f"{kind} {found.name!r}, {found.size} bytes",
        )

    def _zeros(self, count: int) -> None:
        if any(self._read(count)):
            raise self._malformed("zeros between the files", "other bytes")

    def _read(self, count: int) -> bytes:
        data = self._read_some(count)
        if len(data) < count:
            raise self._truncated(self._stream.tell() - len(data) + count)
        return data

    def _read_some(self, count: int) -> bytes:
        try:
            return self._stream.read(count)
        except OSError as error:
            raise _unreadable(self._name, error) from error

    def _truncated(self, needed_bytes: int) -> FileSetError:
        return FileSetError(
            f"{self._name}: expected {needed_bytes} bytes or more, found {self._size_bytes}: the "
            "file ends too early; copy it again",
            "archive_truncated",
        )

    def _malformed(self, expected: str, found: str) -> FileSetError:
        return FileSetError(
            f"{self._name}: expected {expected}, found {found}; {_AGAIN}", "archive_malformed"
        )


def _is_link(member: tarfile.TarInfo) -> bool:
    return member.issym() or member.islnk()


def _unreadable(name: str, error: OSError) -> FileSetError:
    return FileSetError(
        f"{name}: expected a file that can be read, found: {error.strerror}; check the path, its "
        "rights and the disk",
        "file_unreadable",
    )


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[_Source]:
    try:
        handle = os.open(archive, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise FileSetError(
            f"{archive}: expected a file that `sightloop release export` wrote, found none",
            "bundle_missing",
        ) from error
    except OSError as error:
        raise _unreadable(str(archive), error) from error
    # A folder opens too, and open() would refuse its handle.
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise FileSetError(
            f"{archive}: expected a plain file, found a folder, pipe or device; name the file that "
            "`sightloop release export` wrote",
            "file_special",
        )
    with open(handle, "rb") as stream:
        if status.st_size > ARCHIVE_BYTES_MAX:
            raise FileSetError(
                f"{archive}: expected at most {ARCHIVE_BYTES_MAX} bytes, found {status.st_size}",
                "file_too_large",
            )
        yield _Source(stream, archive.name, status.st_size)


@contextlib.contextmanager
def _whole_file(out: Path) -> Iterator[Callable[[bytes], None]]:
    """Give what takes the bytes of a file that becomes `out` when the block ends without an error.

    An error of the disk while writing is said as such, one of reading passes through.
    """
    with contextlib.ExitStack() as cleanup:
        with _write_errors(out):
            handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=out.parent)
            stream = cleanup.enter_context(os.fdopen(handle, "wb"))
            cleanup.callback(Path(name).unlink, missing_ok=True)

        def put(data: bytes) -> None:
            with _write_errors(out):
                stream.write(data)

        yield put
        with _write_errors(out):
            stream.flush()
            os.fsync(stream.fileno())
            os.chmod(name, _MODE)
            os.replace(name, out)
            sync_folder(out.parent)


@contextlib.contextmanager
def _write_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(
            f"{out}: expected a file that can be written in a folder that is there, found: "
            f"{error.strerror}; name another --out or free disk space",
            "file_unwritable",
        ) from error
