"""One run at a time for a model line of a workspace, and the sweeping after killed ones.

The locks are the kernel's: they end with the process that holds them, however it ends. What a
killed run left half-written is removed only while no other run works in the workspace; of what
unfinished steps go on from, the three newest stay.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sightloop._support.files import remove_temporaries
from sightloop.config.workspace import Workspace
from sightloop.errors import PipelineError

_FOLDER = ".locks"
_UNFINISHED_KEPT = 3


@contextlib.contextmanager
def hold_line(workspace: Workspace, line: str) -> Iterator[None]:
    """Hold the line's lock for the block.

    Raises:
        PipelineError: `run_in_progress`: another run of the line holds it.
    """
    folder = workspace.runs / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with _opened(folder / "workspace.lock") as everyone, _opened(folder / f"{line}.line") as mine:
        try:
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(mine, 64, 0).decode(errors="replace").strip() or "unknown"
            raise PipelineError(
                f"line {line}: expected no other run in workspace {workspace.root}, found one in "
                f"process {holder}; wait for it or end it",
                "run_in_progress",
            ) from error
        os.ftruncate(mine, 0)
        os.pwrite(mine, f"{os.getpid()}\n".encode(), 0)
        _sweep_if_alone(workspace, everyone)
        fcntl.flock(everyone, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield handle
    finally:
        os.close(handle)


def _sweep_if_alone(workspace: Workspace, everyone: int) -> None:
    """Remove what killed runs left. Runs at work hold `everyone` shared, so none is at work."""
    try:
        fcntl.flock(everyone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    old = _by_age(workspace.unfinished)[_UNFINISHED_KEPT:]  # before the sweep touches them
    for pattern in ("cache", "cache/*", "runs", "runs/*", "runs/*/steps", "unfinished/*/*"):
        for folder in workspace.root.glob(pattern):
            remove_temporaries(folder)
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)


def _by_age(unfinished: Path) -> list[Path]:
    """What killed steps go on from, the newest first."""
    return sorted(unfinished.glob("*/*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
