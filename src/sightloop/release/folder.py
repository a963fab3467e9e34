"""Read a folder nobody vouches for: no link is followed, nothing but plain files is opened.

Every path is opened component by component below an open folder handle, so a link swapped in
between a check and a read is refused by the kernel. What the files mean is not known here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from sightloop.errors import BundleError, DigestMismatchError, FileSetError
from sightloop.release.manifest import FileEntry

_CHUNK_BYTES = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ELSEWHERE = "get the release again from its maker"


@contextlib.contextmanager
def open_folder(folder: Path) -> Iterator[int]:
    """Give a handle of `folder` to read below.

    Raises:
        FileSetError: bundle_missing: there is no such folder.
    """
    try:
        handle = os.open(folder, _FOLDER)
    except OSError as error:
        raise FileSetError(
            f"release {folder}: expected a folder with manifest.json, found: {error.strerror}; "
            "name the folder that `sightloop release build` wrote",
            "bundle_missing",
        ) from error
    try:
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _open_file(root: int, path: str) -> Iterator[int]:
    """Give a handle of the plain file `path` below `root`; no component may be a link."""
    *folders, name = path.split("/")
    handles = [root]
    try:
        for part in folders:
            handles.append(os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=handles[-1]))
        handles.append(os.open(name, _FILE, dir_fd=handles[-1]))
        if not stat.S_ISREG(os.fstat(handles[-1]).st_mode):
            raise _special(path)
        yield handles[-1]
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        for handle in handles[1:]:
            os.close(handle)


def _special(path: str) -> FileSetError:
    return FileSetError(
        f"{path}: expected a plain file, found a pipe, socket, device or folder; {_ELSEWHERE}",
        "file_special",
    )


def _linked(path: str) -> FileSetError:
    return FileSetError(
        f"{path}: expected a plain file or folder, found a symbolic link, which a release may "
        f"not hold; {_ELSEWHERE}",
        "file_linked",
    )


def _unreadable(path: str, error: OSError) -> BundleError:
    if error.errno == errno.ELOOP:
        return _linked(path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return FileSetError(f"{path}: expected a file, found none; {_ELSEWHERE}", "file_missing")
    if error.errno in (errno.ENXIO, errno.EISDIR):
        return _special(path)
    return FileSetError(
        f"{path}: expected a readable file, found: {error.strerror}; check the permissions and "
        "the disk",
        "file_unreadable",
    )


def read_bounded(root: int, path: str, *, bytes_max: int) -> bytes:
    """Read a small file below `root`.

    Raises:
        FileSetError: Missing, a link, no plain file, unreadable, or larger than `bytes_max`
            (file_too_large).
    """
    with _open_file(root, path) as handle:
        data = bytearray()
        while chunk := os.read(handle, min(_CHUNK_BYTES, bytes_max + 1 - len(data))):
            data += chunk
            if len(data) > bytes_max:
                raise FileSetError(
                    f"{path}: expected at most {bytes_max} bytes, found more; {_ELSEWHERE}",
                    "file_too_large",
                )
    return bytes(data)


def check_listing(root: int, *, files: Collection[str]) -> None:
    """Hold what lies below `root` against `files`: exactly these, plain, in plain folders.

    Raises:
        FileSetError: file_linked, file_special, file_unknown, folder_unknown or file_missing.
    """
    folders = {"/".join(parts[:end]) for path in files for parts, end in _parents(path)}
    seen: set[str] = set()
    _list_folder(root, "", files=frozenset(files), folders=folders, seen=seen)
    if missing := sorted(set(files) - seen):
        raise FileSetError(
            f"{missing[0]}: named by the manifest and not there ({len(missing)} missing in all); "
            f"{_ELSEWHERE}",
            "file_missing",
        )


def _parents(path: str) -> Iterator[tuple[list[str], int]]:
    parts = path.split("/")
    for end in range(1, len(parts)):
        yield parts, end


def _list_folder(
    handle: int, prefix: str, *, files: frozenset[str], folders: set[str], seen: set[str]
) -> None:
    with os.scandir(handle) as entries:
        for entry in entries:
            path = prefix + entry.name
            if entry.is_symlink():
                raise _linked(path)
            if entry.is_dir(follow_symlinks=False):
                _enter_folder(handle, path, files=files, folders=folders, seen=seen)
            elif not entry.is_file(follow_symlinks=False):
                raise _special(path)
            elif path not in files:
                raise FileSetError(
                    f"{path!r}: not named by the manifest; a release holds exactly the files its "
                    f"maker signed; {_ELSEWHERE}",
                    "file_unknown",
                )
            else:
                seen.add(path)


def _enter_folder(
    parent: int, path: str, *, files: frozenset[str], folders: set[str], seen: set[str]
) -> None:
    if path not in folders:
        raise FileSetError(
            f"{path!r}: a folder that holds no file of the manifest; {_ELSEWHERE}",
            "folder_unknown",
        )
    try:
        handle = os.open(path.rpartition("/")[2], _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        _list_folder(handle, path + "/", files=files, folders=folders, seen=seen)
    finally:
        os.close(handle)


def stream_member(root: int, path: str, entry: FileEntry, sink: Callable[[bytes], object]) -> None:
    """Hand the bytes of `path` to `sink`, held against `entry`; never more than it states.

    Raises:
        DigestMismatchError: size_mismatch or digest_mismatch; `sink` has then had wrong bytes.
        FileSetError: Missing, a link, no plain file or unreadable.
    """
    digest = hashlib.sha256()
    left = entry.bytes
    with _open_file(root, path) as handle:
        size = os.fstat(handle).st_size
        while size == entry.bytes and (chunk := os.read(handle, min(_CHUNK_BYTES, left + 1))):
            left -= len(chunk)
            if left < 0:
                break
            digest.update(chunk)
            sink(chunk)
    if size != entry.bytes or left != 0:
        raise DigestMismatchError(
            f"{path}: expected {entry.bytes} bytes as signed, found {size}; {_ELSEWHERE}",
            "size_mismatch",
        )
    found = digest.hexdigest()
    if found != entry.sha256:
        raise DigestMismatchError(
            f"{path}: expected SHA-256 {entry.sha256[:16]}… as signed, found {found[:16]}…: the "
            f"file was changed or damaged; {_ELSEWHERE}",
            "digest_mismatch",
        )


def check_members(root: int, files: Mapping[str, FileEntry]) -> None:
    """Hold every file's bytes against its entry, smallest first.

    Raises:
        DigestMismatchError, FileSetError: As `stream_member`.
    """
    for path, entry in sorted(files.items(), key=lambda item: (item[1].bytes, item[0])):
        stream_member(root, path, entry, _discard)


def _discard(chunk: bytes) -> None:
    """Take bytes that only the digest wanted."""


def read_member(folder: Path, path: str, entry: FileEntry) -> bytes:
    """Read one file of a bundle whole, held against its entry in the manifest.

    Raises:
        DigestMismatchError, FileSetError: As `stream_member`.
    """
    data = bytearray()
    with open_folder(folder) as root:
        stream_member(root, path, entry, data.extend)
    return bytes(data)
