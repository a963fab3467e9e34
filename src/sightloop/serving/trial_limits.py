"""What a candidate may take of the machine until it is READY: bounded memory, first in line to go.

Invariant: outside of `on_trial` a worker has no bound of its own. A release that serves is never
ended by a limit that was set for its trial. Linux only; other memory than the process's own
(a GPU's) is not bounded.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MIB: Final = 1 << 20
_FREE_SHARE: Final = 0.5
_FIRST_TO_GO: Final = "1000"
_STATUS: Final = Path("/proc/self/status")
_MEMINFO: Final = Path("/proc/meminfo")
_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")
_CGROUP: Final = Path("/sys/fs/cgroup")


def allowance_bytes(max_mib: int, *, free_bytes: int | None = None) -> int:
    """What a candidate may take beyond what its worker holds already.

    Args:
        max_mib: As the operator set it; 0: no bound.
        free_bytes: Memory that is free; asked of the machine when None.

    Returns:
        Bytes, at most half of what is free; 0: no bound.
    """
    if max_mib == 0:
        return 0
    free = _free_bytes() if free_bytes is None else free_bytes
    return min(max_mib * _MIB, int(free * _FREE_SHARE))


@contextlib.contextmanager
def on_trial(allowance: int) -> Iterator[None]:
    """Bound this process's own memory while the block runs; 0: do not.

    Bounded are heap and private pages (RLIMIT_DATA), not address space: libraries and mapped files
    are shared with the other workers. An allocation beyond it fails, which ends the trial and not
    the machine. Should memory run out nevertheless, the kernel is told to take this process.
    """
    if allowance == 0:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = _field_bytes(_STATUS, "VmData") + allowance
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    score = _read_score()
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    _write_score(_FIRST_TO_GO)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        _write_score(score)


def _free_bytes() -> int:
    """Memory that can be had without swapping, of the machine or of this container."""
    free = _field_bytes(_MEMINFO, "MemAvailable")
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a bound
        bound = int((_CGROUP / "memory.max").read_text())
        held = int((_CGROUP / "memory.current").read_text())
        free = min(free, max(bound - held, 0))
    return free


def _field_bytes(path: Path, name: str) -> int:
    """A line `Name:   123 kB` of a file of the kernel."""
    for line in path.read_text().splitlines():
        label, _, value = line.partition(":")
        if label == name:
            return int(value.split()[0]) << 10
    raise ValueError(f"{path}: expected a line {name}, found none")


def _read_score() -> str:
    with contextlib.suppress(OSError):
        return _OOM_SCORE.read_text().strip()
    return "0"


def _write_score(score: str) -> None:
    with contextlib.suppress(OSError):  # a wish, and some containers refuse it
        _OOM_SCORE.write_text(score)
