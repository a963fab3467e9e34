"""Holds: releases that a person wants kept, each with a note why.

A hold is one small file named by the digest, so that adding and lifting never read and write a
common file. Holds are read by retention alone; a held release serves no differently.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sightloop._support.files import (
    TEMPORARY_PREFIX,
    alone_in,
    naming_full_disk,
    write_bytes_atomic,
)
from sightloop.distribution.store import ReleaseStore

FOLDER_NAME: Final = "holds"


class Holds:
    """The holds of one store. Any number of processes may use them at once."""

    def __init__(self, store: ReleaseStore) -> None:
        self._store = store
        self._folder = store.root / FOLDER_NAME

    def add(self, digest: str, note: str) -> None:
        """Hold a release; a hold that is there gets the new note. Durable on return.

        Raises:
            ReleaseNotFoundError: `digest` is no digest.
            WorkspaceError: `disk_full`; a hold that was there stays as it was.
        """
        file = self._file_of(digest)
        with naming_full_disk(file), alone_in(self._folder):
            write_bytes_atomic(file, " ".join(note.split()).encode())

    def lift(self, digest: str) -> bool:
        """End a hold; False if there was none.

        Raises:
            ReleaseNotFoundError: `digest` is no digest.
        """
        try:
            self._file_of(digest).unlink()
        except FileNotFoundError:
            return False
        return True

    def notes(self) -> dict[str, str]:
        """Note by digest."""
        if not self._folder.is_dir():
            return {}
        return {
            path.name: path.read_text(encoding="utf-8", errors="replace")
            for path in sorted(self._folder.iterdir())
            if not path.name.startswith(TEMPORARY_PREFIX)
        }

    def _file_of(self, digest: str) -> Path:
        return self._folder / self._store.path_of(digest).name
