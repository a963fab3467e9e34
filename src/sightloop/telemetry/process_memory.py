"""Memory of a process as the kernel counts it; Linux only."""

from __future__ import annotations

from pathlib import Path

_PROC = Path("/proc")


def proportional_bytes(pid: int) -> int | None:
    """Memory of a process in RAM; a page shared by n processes counts 1/n. None if it is gone."""
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return None
