"""The history of a detector in the user's own process: in memory, or in a SQLite file of its own.

Invariant: one detector a file, held by a lock for as long as it lives, since two would write one
history; the state in memory never runs ahead of what is on disk.
"""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path
from typing import IO

from sightloop._support.database import open_sqlite
from sightloop.errors import WorkspaceError
from sightloop.serving.history import HistoryStore, SlotEvent, SlotRecord, apply_event, fold
from sightloop.serving.records import write_event


class EmbeddedHistory:
    """Events of one line. Safe to use from any thread."""

    def __init__(self, line: str, file: Path | None) -> None:
        """Open it.

        Args:
            line: The model line.
            file: SQLite file, created if absent; None keeps the events in memory alone.

        Raises:
            WorkspaceError: Another detector has the file (`history_in_use`), or its folder cannot
                be written.
        """
        self._line = line
        self._using = threading.Lock()
        self._lock_file = _lock(file) if file is not None else None
        self._store = HistoryStore(open_sqlite(file)) if file is not None else None
        self._events = self._store.events(line) if self._store is not None else ()
        self.record: SlotRecord = fold(self._events)

    def append(self, event: SlotEvent) -> None:
        """Add one event; durable on return where there is a file.

        Raises:
            ServingError: It could not be written (`history_not_saved`); nothing was added.
        """
        with self._using:
            if self._store is not None:
                write_event(self._store, self._line, event)
            self._events = (*self._events, event)
            self.record = apply_event(self.record, event)

    def events(self) -> tuple[SlotEvent, ...]:
        """All events, oldest first."""
        return self._events

    def close(self) -> None:
        """Let go of the file. A second call does nothing."""
        if self._store is not None:
            self._store.close()
        if self._lock_file is not None:
            self._lock_file.close()


def _lock(file: Path) -> IO[str]:
    # Beside the database, not on it: SQLite's own locks go when any handle of the file is closed.
    path = file.with_name(f"{file.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(path, "a")  # noqa: SIM115  # held until `close`
    except OSError as error:
        raise WorkspaceError(
            f"history {file}: expected a file that can be written, found: {error.strerror}; "
            "name another one"
        ) from error
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.close()
        raise WorkspaceError(
            f"history {file}: expected no other detector on it, found one; close it, or give "
            "this one a file of its own",
            "history_in_use",
        ) from error
    return stream
