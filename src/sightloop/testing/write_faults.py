"""Stops this process at one chosen write: kill -9, ctrl-C, or a disk that is full from then on.

Every call that changes the disk below a folder is a *point*, numbered in the order in which it is
reached: an open for writing, each write (at a kill or a full disk, half of it reaches the file), a
flush to disk, a rename, a removal, a new folder, an SQL statement that writes, a commit. A full
disk is the kernel's own no besides: RLIMIT_FSIZE is 0 from the point on, so that libraries in C
and SQLite meet it too. Cannot be undone: install it in a process made for it.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import resource
import signal
import stat
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event

_CHANGES: Final = frozenset(
    {
        "os.chmod",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.symlink",
        "os.truncate",
        "os.utime",
    }
)
_NEEDS_ROOM: Final = frozenset({"open", "os.link", "os.mkdir", "os.symlink", "os.truncate"})
_SQL_WRITES: Final = frozenset({"INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP"})
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Fault(StrEnum):
    """What happens at the point."""

    NONE = "none"
    KILL = "kill"
    INTERRUPT = "interrupt"
    DISK_FULL = "disk_full"


class WriteFaults:
    """The points of this process.

    Attributes:
        points: What each point was, in order.
    """

    def __init__(self, root: Path, fault: Fault, at: int) -> None:
        """Choose a point.

        Args:
            root: Changes below it count, and those by a path relative to an open folder.
            fault: What happens.
            at: Number of the point, from 1.
        """
        self._root = str(root.resolve())
        self._fault = fault
        self._at = at
        self._full = False
        self.points: list[str] = []

    def install(self) -> None:
        """Count from now on, in this process, until it ends."""
        sys.addaudithook(self._audit)
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", lambda _: self._point("sql commit", room=False))
        opened = io.open

        def watched(*args: Any, **kwargs: Any) -> Any:
            stream = opened(*args, **kwargs)
            return _Watched(stream, self) if self._is_written(stream) else stream

        builtins.open = io.open = watched
        for name in ("fsync", "write", "pwrite", "sendfile"):
            setattr(os, name, self._counted(name, getattr(os, name)))

    def half_written(
        self, write: Callable[[Any], object], flush: Callable[[], None], data: Any
    ) -> None:
        """A write of a stream: at the point, half of it reaches the disk."""
        if self._next_is_the_point() and self._fault in (Fault.KILL, Fault.DISK_FULL):
            write(data[: len(data) // 2])
            flush()
        self._point("write", room=True)

    def _statement(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        word = statement.lstrip().partition(" ")[0].upper()
        if word in _SQL_WRITES:
            self._point(f"sql {word.lower()}", room=False)

    def _is_written(self, stream: Any) -> bool:
        try:
            if not stream.writable():
                return False
            handle = stream.fileno()
            place = os.readlink(f"/proc/self/fd/{handle}")
            return stat.S_ISREG(os.fstat(handle).st_mode) and place.startswith(self._root)
        except (OSError, AttributeError, ValueError):
            return False

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(handle: Any, *args: Any, **kwargs: Any) -> Any:
            number = handle if isinstance(handle, int) else handle.fileno()
            if os.readlink(f"/proc/self/fd/{number}").startswith(self._root):
                self._point(name, room=name != "fsync")
            return function(handle, *args, **kwargs)

        return call

    def _audit(self, name: str, args: tuple[Any, ...]) -> None:
        if name != "open" and name not in _CHANGES:
            return
        if name == "open" and not (isinstance(args[2], int) and args[2] & _WRITES):
            return
        path = args[0]
        if isinstance(path, int):
            return
        text = os.fsdecode(path)
        if not os.path.isabs(text) or text.startswith(self._root):
            self._point(name, room=name in _NEEDS_ROOM)

    def _next_is_the_point(self) -> bool:
        return len(self.points) + 1 == self._at

    def _point(self, what: str, *, room: bool) -> None:
        self.points.append(what)
        if len(self.points) == self._at:
            self._strike()
        if self._full and room:
            raise OSError(errno.ENOSPC, "No space left on device")

    def _strike(self) -> None:
        if self._fault is Fault.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._fault is Fault.INTERRUPT:
            os.kill(os.getpid(), signal.SIGINT)
        elif self._fault is Fault.DISK_FULL:
            self._full = True
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))


class _Watched:
    """A stream whose writes are points; everything else is the stream's own."""

    def __init__(self, stream: Any, faults: WriteFaults) -> None:
        self._stream = stream
        self._faults = faults

    def write(self, data: Any) -> Any:
        self._faults.half_written(self._stream.write, self._stream.flush, data)
        return self._stream.write(data)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __enter__(self) -> _Watched:
        self._stream.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._stream.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
