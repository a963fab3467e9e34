"""A process and all that it has started: their memory and their CPU time, read from /proc."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def tree_of(root: int) -> tuple[int, ...]:
    """Process ids of `root` and everything below it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                children.setdefault(_stat(int(entry.name)).parent, []).append(int(entry.name))
    found, open_ = [], [root]
    while open_:
        pid = open_.pop()
        found.append(pid)
        open_ += children.get(pid, [])
    return tuple(found)


def anonymous_mib(root: int) -> float:
    """Anonymous memory of the tree in MiB; a page shared by n processes counts 1/n in each."""
    total_kib = 0
    for pid in tree_of(root):
        with contextlib.suppress(OSError):
            for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss_Anon:"):
                    total_kib += int(line.split()[1])
    return total_kib / 1024


def cpu_s(root: int) -> float:
    """CPU time of the tree's living processes."""
    total = 0.0
    for pid in tree_of(root):
        with contextlib.suppress(OSError, ValueError):
            total += _stat(pid).cpu_s
    return total


@dataclass(frozen=True, slots=True)
class _Stat:
    parent: int
    cpu_s: float


def _stat(pid: int) -> _Stat:
    """What /proc/PID/stat says; the name in parentheses may hold spaces."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return _Stat(parent=int(fields[1]), cpu_s=(int(fields[11]) + int(fields[12])) * _TICK_S)
