"""Reading below an open folder; links and special files are attacked in tests/attacks."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sightloop.errors import DigestMismatchError, FileSetError
from sightloop.release.folder import (
    check_listing,
    check_members,
    open_folder,
    read_bounded,
    read_member,
)
from sightloop.release.manifest import FileEntry


def _entry(data: bytes) -> FileEntry:
    return FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def test_bounded_read_takes_the_limit_and_not_a_byte_more(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    with open_folder(tmp_path) as root:
        assert read_bounded(root, "a", bytes_max=5) == b"12345"
        with pytest.raises(FileSetError) as caught:
            read_bounded(root, "a", bytes_max=4)
    assert caught.value.reason == "file_too_large"


@pytest.mark.parametrize("data", [b"", b"x", b"y" * (3 << 20)])
def test_member_is_read_whole(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_bytes(data)
    assert read_member(tmp_path, "deep/a", _entry(data)) == data


def test_empty_file_in_the_place_of_a_full_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(DigestMismatchError) as caught:
        read_member(tmp_path, "a", _entry(b"full"))
    assert caught.value.reason == "size_mismatch"


def test_every_member_is_held_against_its_entry(tmp_path: Path) -> None:
    files = {}
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
        files[name] = _entry(name.encode())
    with open_folder(tmp_path) as root:
        check_members(root, files)
        for name in files:
            (tmp_path / name).write_bytes(b"!")
            with pytest.raises(DigestMismatchError, match=f"^{name}:"):
                check_members(root, files)
            (tmp_path / name).write_bytes(name.encode())


def test_listing_names_how_many_are_missing(tmp_path: Path) -> None:
    with open_folder(tmp_path) as root, pytest.raises(FileSetError, match="2 missing"):
        check_listing(root, files=["a", "b/c"])
