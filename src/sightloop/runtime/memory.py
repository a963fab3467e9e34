"""What a process holds, and giving back what the C allocator keeps after a network is closed.

Invariant: nothing here frees an object; that is `close()`'s work, before. Where the C library has
no such call (musl), the memory stays with the process and is used again.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_STATM = Path("/proc/self/statm")


def give_memory_back() -> bool:
    """Return free pages of all of the allocator's arenas to the system.

    Takes the arenas' locks for some milliseconds: call it on a thread that nobody waits for.

    Returns:
        Whether anything could be given back.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return bool(trim(0)) if trim is not None else False


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
